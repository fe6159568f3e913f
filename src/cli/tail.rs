//! Where the last lines of a run begin. They are searched for backwards, page by page, so that a long run costs no
//! memory.

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::{
    client::ServerSession,
    model::{Entry, Failure, Kind, Run, Stream, calls::ReadParams, methods::RunRead},
};

/// Longest page of `run/read`, in bytes as the log counts them.
const MAX_PAGE_BYTES: u64 = 256 << 10;

/// A position in a run's output. The default is its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TailPosition {
    /// The output begins after this entry.
    pub(crate) after_seq: u64,
    /// This many bytes of the first output entry after it do not belong to the last lines.
    pub(crate) skip: u64,
}

impl TailPosition {
    /// The bytes of an output entry that belong to the output from this position on. The first call uses up `skip`.
    pub(crate) fn take_bytes(&mut self, text: &str, data: Option<&str>) -> Result<Vec<u8>, Failure> {
        let mut bytes = exact_bytes(text, data)?.into_owned();
        let skipped = std::mem::take(&mut self.skip).min(bytes.len() as u64);
        bytes.drain(..skipped as usize);
        Ok(bytes)
    }
}

/// Where the last `lines` lines begin of what `run` has written so far: of one stream, or of both in the order of
/// arrival. An unfinished last line counts as a line.
pub(crate) async fn find_tail(session: &ServerSession, run: &Run, stream: Option<Stream>, lines: u64) -> Result<TailPosition, Failure> {
    let mut counter = LineEndCounter { lines, found: 0, at_end: true };
    if lines == 0 {
        return Ok(TailPosition { after_seq: run.last_seq, skip: 0 });
    }
    let mut before = run.last_seq + 1;
    loop {
        let params = ReadParams {
            run_id: run.id,
            after_seq: None,
            before_seq: Some(before),
            max_bytes: Some(MAX_PAGE_BYTES),
            kinds: Some(vec![Kind::Output]),
        };
        let page = session.call(RunRead, params).await?;
        for entry in page.entries.iter().rev() {
            let Entry::Output(output) = entry else { continue };
            if stream.is_some_and(|stream| stream != output.stream) {
                continue;
            }
            let bytes = exact_bytes(&output.text, output.data.as_deref())?;
            if let Some(skip) = counter.scan(&bytes) {
                return Ok(TailPosition { after_seq: output.seq.saturating_sub(1), skip });
            }
        }
        match page.prev_before_seq {
            Some(earlier) if page.at_start != Some(true) && earlier < before => before = earlier,
            _ => return Ok(TailPosition::default()),
        }
    }
}

/// The bytes that the program wrote, from the `text` and `data` of an output entry.
fn exact_bytes<'a>(text: &'a str, data: Option<&str>) -> Result<Cow<'a, [u8]>, Failure> {
    match data {
        None => Ok(Cow::Borrowed(text.as_bytes())),
        Some(data) => {
            let bytes = BASE64_STANDARD.decode(data);
            bytes.map(Cow::Owned).map_err(|error| Failure::internal(format!("the server sent invalid base64: {error}")))
        }
    }
}

/// Counts line ends backwards.
struct LineEndCounter {
    lines: u64,
    found: u64,
    /// No bytes have been scanned yet, so a line end at their end belongs to the last line itself.
    at_end: bool,
}

impl LineEndCounter {
    /// Scans the bytes before those of the last call. `Some`: the last lines begin here, after that many bytes.
    fn scan(&mut self, bytes: &[u8]) -> Option<u64> {
        for at in memchr::memrchr_iter(b'\n', bytes) {
            if self.at_end && at + 1 == bytes.len() {
                continue;
            }
            self.found += 1;
            if self.found == self.lines {
                return Some(at as u64 + 1);
            }
        }
        self.at_end &= bytes.is_empty();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the last lines of a text in chunks begin: the chunk's index and the bytes of it that are skipped.
    fn tail_of(chunks: &[&str], lines: u64) -> Option<(usize, u64)> {
        let mut counter = LineEndCounter { lines, found: 0, at_end: true };
        chunks.iter().enumerate().rev().find_map(|(number, chunk)| Some((number, counter.scan(chunk.as_bytes())?)))
    }

    #[test]
    fn lines_are_counted_across_chunks() {
        assert_eq!(tail_of(&["a\nb\nc\n"], 1), Some((0, 4)));
        assert_eq!(tail_of(&["a\nb\nc"], 1), Some((0, 4)));
        assert_eq!(tail_of(&["a\nb\nc\n"], 2), Some((0, 2)));
        assert_eq!(tail_of(&["a\nb", "b", "b\n", "c\n"], 2), Some((0, 2)));
        assert_eq!(tail_of(&["a\n", "\n"], 1), Some((0, 2)));
        assert_eq!(tail_of(&["a\nb", "\n"], 1), Some((0, 2)));
        assert_eq!(tail_of(&["a\nb\n"], 3), None);
    }

    #[test]
    fn only_the_first_bytes_are_skipped() {
        let mut position = TailPosition { after_seq: 0, skip: 2 };
        assert_eq!(position.take_bytes("é\n", None), Ok(b"\n".to_vec()));
        assert_eq!(position.take_bytes("é\n", None), Ok("é\n".as_bytes().to_vec()));
    }

    #[test]
    fn bytes_are_those_that_the_program_wrote() {
        assert_eq!(exact_bytes("é", None).as_deref(), Ok("é".as_bytes()));
        assert_eq!(exact_bytes("a\u{fffd}", Some("Yf8=")).as_deref(), Ok(&b"a\xff"[..]));
        assert!(exact_bytes("", Some("?")).is_err());
    }
}
