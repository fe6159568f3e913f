//! `text` and `jsonl`: what was written or told, and the log as it is.

use std::io::{self, Write};

use super::{Render, meaning, words::Words, written};

/// What the program wrote, byte for byte, both streams in order of arrival.
pub struct Text;

/// What an agent said, did and was asked, for a reader without a terminal.
pub struct Told(Words);

impl Told {
    pub fn new() -> Self {
        Self(Words::new(usize::MAX))
    }
}

/// Entries as the log has them, one a line.
pub struct Lines;

impl Render for Text {
    fn line(&mut self, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        match written(line)? {
            Some((_, raw)) => out.write_all(&raw),
            None => Ok(()),
        }
    }
}

impl Render for Told {
    fn line(&mut self, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        match meaning(line)? {
            Some(entry) => write!(out, "{}", anstream::adapter::strip_str(&self.0.of(&entry))),
            None => Ok(()),
        }
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{}", anstream::adapter::strip_str(&self.0.end()))
    }
}

impl Render for Lines {
    fn line(&mut self, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        out.write_all(line)?;
        out.write_all(b"\n")
    }
}
