//! `text` and `jsonl`: the output or the transcript, and the log as it is.

use std::io::{self, Write};

use super::{
    Render,
    item_queue::{ItemNode, ItemQueue},
    output_of,
    text_writer::TextWriter,
    transcript_entry,
};

/// What the program wrote, byte for byte, both streams in order of arrival.
pub(crate) struct TextRenderer;

/// A transcript for a reader without a terminal: every item as it stands at last.
pub(crate) struct TranscriptText {
    queue: ItemQueue,
    writer: TextWriter,
}

impl TranscriptText {
    pub(crate) fn new() -> Self {
        Self { queue: ItemQueue::new(), writer: TextWriter::new(usize::MAX) }
    }

    fn write(&mut self, nodes: &[ItemNode], out: &mut dyn Write) -> io::Result<()> {
        nodes.iter().try_for_each(|node| write!(out, "{}", anstream::adapter::strip_str(&self.writer.node(node))))
    }
}

/// Entries as the log has them, one a line.
pub(crate) struct JsonlRenderer;

impl Render for TextRenderer {
    fn line(&mut self, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        match output_of(line)? {
            Some((_, raw)) => out.write_all(&raw),
            None => Ok(()),
        }
    }
}

impl Render for TranscriptText {
    fn line(&mut self, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let Some(entry) = transcript_entry(line)? else { return Ok(()) };
        let ready = self.queue.take(&entry);
        self.write(&ready, out)
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let rest = self.queue.finish();
        self.write(&rest, out)?;
        write!(out, "{}", anstream::adapter::strip_str(&self.writer.end()))
    }
}

impl Render for JsonlRenderer {
    fn line(&mut self, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        out.write_all(line)?;
        out.write_all(b"\n")
    }
}
