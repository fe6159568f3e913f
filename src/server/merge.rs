//! Output entries as notifications: copied, merged for a client that is slow, or cut for one that wants small pieces.

use std::io::Write;

use crate::{
    log::text,
    model::{
        RunId, Stream,
        line::{self, OutputLine},
    },
    rpc::outgoing::Bulk,
};

const METHOD: &str = "run/output";

/// Puts output lines into a turn's frames.
pub struct Merger {
    id: RunId,
    limit: usize,
    /// Join adjacent entries of one stream.
    joins: bool,
    joined: Option<Joined>,
}

struct Joined {
    first_seq: u64,
    seq: u64,
    at: u64,
    stream: Stream,
    offset: u64,
    /// Still escaped: the concatenation of two escaped texts is the escaped concatenation.
    text: Vec<u8>,
}

impl Merger {
    pub fn new(id: RunId, limit: usize, joins: bool) -> Self {
        Self { id, limit, joins, joined: None }
    }

    /// Takes one output line, without its line feed.
    pub fn line(&mut self, line: &[u8], bulk: &mut Bulk) {
        // Escaped text is never shorter than what it stands for, so its length bounds the raw bytes.
        let Some(output) = line::output(line) else {
            self.finish(bulk);
            return bulk.frame(METHOD, &[line]);
        };
        if self.joins && output.data.is_none() && output.text.len() <= self.limit {
            return self.join(&output, bulk);
        }
        self.finish(bulk);
        if output.text.len() <= self.limit || output.raw_len() <= self.limit as u64 {
            bulk.frame(METHOD, &[line]);
        } else {
            self.cut(&output, line, bulk);
        }
    }

    /// Sends what was joined so far. To be called before anything else goes out.
    pub fn finish(&mut self, bulk: &mut Bulk) {
        let Some(joined) = self.joined.take() else { return };
        let mut head = Vec::with_capacity(200);
        let Joined { first_seq, seq, at, stream, offset, .. } = joined;
        let merged = if first_seq < seq { format!(r#","firstSeq":{first_seq}"#) } else { String::new() };
        write!(
            head,
            r#"{{"kind":"output","runId":"{}","seq":{seq}{merged},"at":{at},"stream":"{stream}","offset":{offset},"text":""#,
            self.id
        )
        .expect("writing to a vector cannot fail");
        bulk.frame(METHOD, &[&head, &joined.text, br#""}"#]);
    }

    fn join(&mut self, output: &OutputLine<'_>, bulk: &mut Bulk) {
        match &mut self.joined {
            Some(joined)
                if joined.stream == output.stream
                    && joined.seq + 1 == output.seq
                    && joined.text.len() + output.text.len() <= self.limit =>
            {
                joined.seq = output.seq;
                joined.text.extend_from_slice(output.text);
            }
            _ => {
                self.finish(bulk);
                let OutputLine { seq, at, stream, offset, text, .. } = *output;
                self.joined = Some(Joined { first_seq: seq, seq, at, stream, offset, text: text.to_vec() });
            }
        }
    }

    /// Cuts an entry that is longer than this client wants into notifications of the same number; `offset` tells them apart.
    fn cut(&self, output: &OutputLine<'_>, line: &[u8], bulk: &mut Bulk) {
        let mut raw = Vec::new();
        if output.raw(&mut raw).is_err() {
            return bulk.frame(METHOD, &[line]);
        }
        let mut offset = output.offset;
        let mut piece_line = Vec::new();
        for piece in text::pieces(&raw, self.limit) {
            piece_line.clear();
            line::write_output(&mut piece_line, self.id, output.seq, output.at, output.stream, offset, piece);
            bulk.frame(METHOD, &[piece_line.strip_suffix(b"\n").unwrap_or(&piece_line)]);
            offset += piece.len() as u64;
        }
    }
}
