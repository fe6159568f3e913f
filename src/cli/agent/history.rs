//! What an agent's run has said so far, painted page by page.

use serde_json::json;

use super::painter::Painter;
use crate::{
    cli::{Stop, client::Session},
    model::{Run, Stream, calls::ReadResult},
};

/// Bytes of a page, as the log counts them.
const PAGE: u64 = 256 << 10;

/// Kinds of entries that mean something.
pub const KINDS: [&str; 4] = ["session", "update", "permission", "state"];

/// Paints everything up to the entry `run.last_seq`, and hands the text on after each page. Answers with the last entry's number.
pub async fn paint<F>(session: &Session, run: &Run, painter: &mut Painter, mut hand_on: F) -> Result<u64, Stop>
where
    F: AsyncFnMut(String) -> Result<(), Stop>,
{
    let mut after_seq = 0;
    while after_seq < run.last_seq {
        let params = json!({ "runId": run.id, "afterSeq": after_seq, "maxBytes": PAGE, "kinds": KINDS });
        let page: ReadResult = session.call("run/read", params).await?;
        // What came after the first look is for whoever follows.
        page.entries.iter().filter(|entry| entry.seq() <= run.last_seq).for_each(|entry| painter.entry(entry));
        hand_on(painter.take()).await?;
        match page.next_after_seq {
            Some(next) if page.at_end != Some(true) && next > after_seq => after_seq = next,
            _ => break,
        }
    }
    Ok(run.last_seq)
}

/// The last lines of a text that comes in pieces.
pub struct LastLines {
    text: String,
    lines: usize,
}

impl LastLines {
    pub fn new(lines: u64) -> Self {
        Self { text: String::new(), lines: usize::try_from(lines).unwrap_or(usize::MAX) }
    }

    pub fn push(&mut self, piece: &str) {
        self.text.push_str(piece);
        let end = self.text.trim_end_matches('\n').len();
        let from = match self.lines {
            0 => self.text.len(),
            lines => memchr::memrchr_iter(b'\n', &self.text.as_bytes()[..end]).nth(lines - 1).map_or(0, |at| at + 1),
        };
        self.text.drain(..from);
    }

    pub fn text(self) -> String {
        self.text
    }
}

/// Where text of ours goes.
pub const OUT: Stream = Stream::Stdout;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_pieces() {
        let last = |lines, pieces: &[&str]| {
            let mut last = LastLines::new(lines);
            pieces.iter().for_each(|piece| last.push(piece));
            last.text()
        };
        assert_eq!(last(2, &["a\nb", "\nc\n"]), "b\nc\n");
        assert_eq!(last(1, &["a\n", "b"]), "b");
        assert_eq!(last(9, &["a\n", "b"]), "a\nb");
        assert_eq!(last(0, &["a\n", "b"]), "");
    }
}
