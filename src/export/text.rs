//! `text` and `jsonl`: what was written, and the log as it is.

use std::io::{self, Write};

use super::{Render, written};

/// What the program wrote, byte for byte, both streams in order of arrival.
pub struct Text;

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

impl Render for Lines {
    fn line(&mut self, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        out.write_all(line)?;
        out.write_all(b"\n")
    }
}
