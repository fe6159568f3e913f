//! Turns output entries into notifications: copies them, merges them for a slow client, or splits them for a client
//! that wants small ones.

use std::io::Write;

use crate::{
    log::text,
    model::{
        RunId, Stream,
        line::{self, OutputLine},
    },
    rpc::outgoing::Bulk,
};

const OUTPUT_METHOD: &str = "run/output";
/// No entry of output has more raw bytes, because every launch spec says so.
pub(crate) const MAX_CHUNK_BYTES: usize = 64 << 10;

/// Puts the output lines of a batch into frames.
pub(crate) struct Merger {
    id: RunId,
    limit: usize,
    /// Whether adjacent entries of one stream are merged.
    merges: bool,
    merged: Option<MergedOutput>,
}

/// Adjacent output entries of one stream, merged into one notification.
struct MergedOutput {
    first_seq: u64,
    seq: u64,
    at: u64,
    stream: Stream,
    offset: u64,
    /// The text, still escaped: the concatenation of two escaped texts is the escaped concatenation.
    text: Vec<u8>,
}

impl Merger {
    pub(crate) fn new(id: RunId, limit: usize, merges: bool) -> Self {
        Self { id, limit, merges, merged: None }
    }

    /// Takes one output line, without its line feed.
    pub(crate) fn line(&mut self, line: &[u8], bulk: &mut Bulk) {
        // Escaped text is never shorter than what it stands for, so its length bounds the raw bytes.
        let Some(output) = line::output(line) else {
            self.finish(bulk);
            return bulk.frame(OUTPUT_METHOD, &[line]);
        };
        if self.merges && output.data.is_none() && output.text.len() <= self.limit {
            return self.merge(&output, bulk);
        }
        self.finish(bulk);
        if self.limit >= MAX_CHUNK_BYTES || output.text.len() <= self.limit || output.raw_len() <= self.limit as u64 {
            bulk.frame(OUTPUT_METHOD, &[line]);
        } else {
            self.split(&output, line, bulk);
        }
    }

    /// Sends what was merged so far. The caller does so before it sends anything else.
    pub(crate) fn finish(&mut self, bulk: &mut Bulk) {
        let Some(merged) = self.merged.take() else { return };
        let mut head = Vec::with_capacity(200);
        let MergedOutput { first_seq, seq, at, stream, offset, .. } = merged;
        let range = if first_seq < seq { format!(r#","firstSeq":{first_seq}"#) } else { String::new() };
        write!(
            head,
            r#"{{"kind":"output","runId":"{}","seq":{seq}{range},"at":{at},"stream":"{stream}","offset":{offset},"text":""#,
            self.id
        )
        .expect("writing to a vector cannot fail");
        bulk.frame(OUTPUT_METHOD, &[&head, &merged.text, br#""}"#]);
    }

    fn merge(&mut self, output: &OutputLine<'_>, bulk: &mut Bulk) {
        match &mut self.merged {
            Some(merged)
                if merged.stream == output.stream
                    && merged.seq + 1 == output.seq
                    && merged.text.len() + output.text.len() <= self.limit =>
            {
                merged.seq = output.seq;
                merged.text.extend_from_slice(output.text);
            }
            _ => {
                self.finish(bulk);
                let OutputLine { seq, at, stream, offset, text, .. } = *output;
                self.merged = Some(MergedOutput { first_seq: seq, seq, at, stream, offset, text: text.to_vec() });
            }
        }
    }

    /// Splits an entry that is longer than this client wants into notifications of the same number, which differ in
    /// `offset`.
    fn split(&self, output: &OutputLine<'_>, line: &[u8], bulk: &mut Bulk) {
        let mut raw = Vec::new();
        if output.raw(&mut raw).is_err() {
            return bulk.frame(OUTPUT_METHOD, &[line]);
        }
        let mut offset = output.offset;
        let mut piece_line = Vec::new();
        for piece in text::pieces(&raw, self.limit) {
            piece_line.clear();
            line::write_output(&mut piece_line, self.id, output.seq, output.at, output.stream, offset, piece);
            bulk.frame(OUTPUT_METHOD, &[piece_line.strip_suffix(b"\n").unwrap_or(&piece_line)]);
            offset += piece.len() as u64;
        }
    }
}
