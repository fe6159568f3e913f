//! Our own stdin, for a run that wants it: read in a thread, line by line, never inside a character.

use std::{
    io::{self, BufRead, Read},
    os::fd::AsFd,
};

use rustix::fs::FileType;
use tokio::sync::mpsc;

use crate::{log::text::unfinished, model::Failure};

/// Longest piece of a line that is sent at once, in bytes.
const PIECE: u64 = 64 << 10;

/// Pieces that may wait to be sent.
const WAITING: usize = 4;

/// Pieces of stdin as text, until its end.
pub type Lines = mpsc::Receiver<Result<String, Failure>>;

/// Starts to read stdin. The thread ends with stdin, or with the process.
pub fn lines() -> Lines {
    let (sender, lines) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        let mut reader = Pieces::of(io::stdin().lock());
        while let Some(piece) = reader.next().transpose() {
            if sender.blocking_send(piece).is_err() {
                return;
            }
        }
    });
    lines
}

/// Whether something waits in our stdin that nobody has read: in a pipe, or in a file.
pub fn is_left() -> bool {
    is_left_in(io::stdin())
}

fn is_left_in(stdin: impl AsFd) -> bool {
    let Ok(stat) = rustix::fs::fstat(&stdin) else { return false };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo | FileType::Socket => rustix::io::ioctl_fionread(&stdin).is_ok_and(|bytes| bytes > 0),
        FileType::RegularFile => {
            let at = rustix::fs::seek(&stdin, rustix::fs::SeekFrom::Current(0));
            at.is_ok_and(|at| u64::try_from(stat.st_size).is_ok_and(|size| at < size))
        }
        _ => false,
    }
}

/// A reader as pieces of text.
pub struct Pieces<R> {
    reader: R,
    /// The beginning of a character whose rest comes with the next piece.
    held: Vec<u8>,
}

impl<R: BufRead> Pieces<R> {
    pub fn of(reader: R) -> Self {
        Self { reader, held: Vec::new() }
    }

    /// The next piece; `None` at the end. The protocol's input is text, so other bytes are a failure.
    pub fn next(&mut self) -> Result<Option<String>, Failure> {
        let mut piece = std::mem::take(&mut self.held);
        let read = (&mut self.reader).take(PIECE).read_until(b'\n', &mut piece);
        let read = read.map_err(|error| Failure::internal(format!("stdin cannot be read: {error}")))?;
        if read > 0 {
            self.held = piece.split_off(piece.len() - unfinished(&piece));
            if piece.is_empty() {
                return self.next();
            }
        }
        if piece.is_empty() {
            return Ok(None);
        }
        let not_text = |_| Failure::invalid_params("text", "stdin holds bytes that are not UTF-8, and a run can only be sent text");
        String::from_utf8(piece).map(Some).map_err(not_text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(bytes: &[u8]) -> Result<Vec<String>, Failure> {
        let mut reader = Pieces::of(io::BufReader::with_capacity(7, bytes));
        std::iter::from_fn(|| reader.next().transpose()).collect()
    }

    #[test]
    fn lines_come_one_by_one_and_the_last_needs_no_end() {
        assert_eq!(pieces(b"one\n\ntwo"), Ok(vec!["one\n".to_owned(), "\n".to_owned(), "two".to_owned()]));
        assert_eq!(pieces(b""), Ok(vec![]));
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let long = format!("x{}", "日".repeat(50_000));
        let found = pieces(long.as_bytes()).expect("text");
        assert!(found.len() > 1 && found.iter().all(|piece| piece.len() <= PIECE as usize + 3));
        assert_eq!(found.concat(), long);
    }

    #[test]
    fn only_what_can_be_read_is_left() {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        assert!(!is_left_in(&reader), "nothing was written");
        rustix::io::write(&writer, b"x").expect("written");
        assert!(is_left_in(&reader));
        rustix::io::read(&reader, &mut [0; 2]).expect("read");
        drop(writer);
        assert!(!is_left_in(&reader), "it was read");
        assert!(!is_left_in(std::fs::File::open("/dev/null").expect("opened")));
    }

    #[test]
    fn what_is_not_text_is_refused() {
        assert!(pieces(b"a\xff\n").is_err());
        assert!(pieces(b"cut \xe6\x97").is_err());
    }
}
