//! A run as a file that can be read without loomd: its text, its entries, a page, a recording of a terminal.
//!
//! Entries go in one by one, bytes come out: what is held does not grow with the run. Nothing here decides where the bytes go
//! but [`mod@file`], and nothing an agent or a program wrote gets out of its place in what is made of it.

mod ansi;
mod cast;
pub(crate) mod file;
mod html;
mod item_queue;
mod item_text;
mod markdown;
mod sgr;
mod summary;
mod text;
mod text_writer;

use std::io::{self, Write};

use crate::{
    history::{ForwardReader, History, HistoryError, ReadOutcome},
    model::{Entry, Kind, Run, calls::ExportFormat, line},
};

/// How much of a log is read at a time.
const READ_BLOCK_BYTES: usize = 256 << 10;
/// A run without an update in so many bytes of its log is shown as a command's.
const MAX_BYTES_WITHOUT_UPDATE: usize = 8 << 20;

/// Why an export ends early.
#[derive(Debug)]
pub(crate) enum ExportError {
    /// The bytes cannot be written.
    Write(io::Error),
    /// The run cannot be read.
    Read(HistoryError),
    Cancelled,
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl From<HistoryError> for ExportError {
    fn from(error: HistoryError) -> Self {
        Self::Read(error)
    }
}

/// One format: entries as lines go in, in their order, without their line feeds.
trait Render {
    fn begin(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn line(&mut self, line: &[u8], out: &mut dyn Write) -> io::Result<()>;

    fn finish(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a run, up to the entry `run.last_seq`.
pub(crate) fn write(
    history: &History,
    run: &Run,
    format: ExportFormat,
    out: &mut dyn Write,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<(), ExportError> {
    let has_transcript = format != ExportFormat::Jsonl && has_transcript(history, run, is_cancelled)?;
    let mut render = renderer(run, format, has_transcript);
    render.begin(out)?;
    let mut reader = ForwardReader::new(run.id, 0);
    let mut lines = Vec::new();
    while reader.seq() < run.last_seq {
        if is_cancelled() {
            return Err(ExportError::Cancelled);
        }
        lines.clear();
        if reader.read(history, READ_BLOCK_BYTES, &mut lines)? == ReadOutcome::Nothing {
            // The run was there a moment ago, so it has been deleted since.
            return Err(HistoryError::NotFound(run.id).into());
        }
        for line in line::lines(&lines) {
            if line::head(line).is_some_and(|head| head.seq > run.last_seq) {
                break;
            }
            render.line(line, out).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    let dir = history.dir(run.id).path().to_owned();
                    ExportError::Read(HistoryError::Log { dir, source: error })
                }
                _ => ExportError::Write(error),
            })?;
        }
    }
    render.finish(out)?;
    Ok(())
}

fn renderer<'a>(run: &'a Run, format: ExportFormat, has_transcript: bool) -> Box<dyn Render + 'a> {
    match format {
        ExportFormat::Text if has_transcript => Box::new(text::TranscriptText::new()),
        ExportFormat::Text => Box::new(text::TextRenderer),
        ExportFormat::Jsonl => Box::new(text::JsonlRenderer),
        ExportFormat::Markdown if has_transcript => Box::new(markdown::AgentPage::new(run)),
        ExportFormat::Markdown => Box::new(markdown::CommandPage::new(run)),
        ExportFormat::Html => Box::new(html::HtmlPage::new(run, has_transcript, &uuid::Uuid::now_v7().simple().to_string())),
        ExportFormat::Asciicast => Box::new(cast::Cast::new(run, has_transcript)),
    }
}

/// Whether the run's log has updates, so that its output is only the provider's protocol.
fn has_transcript(history: &History, run: &Run, is_cancelled: &dyn Fn() -> bool) -> Result<bool, ExportError> {
    if !run.has_transcript {
        return Ok(false);
    }
    let mut reader = ForwardReader::new(run.id, 0);
    let (mut lines, mut seen) = (Vec::new(), 0);
    while reader.seq() < run.last_seq && seen < MAX_BYTES_WITHOUT_UPDATE && !is_cancelled() {
        lines.clear();
        if reader.read(history, READ_BLOCK_BYTES, &mut lines)? == ReadOutcome::Nothing {
            break;
        }
        seen += lines.len();
        if line::lines(&lines).filter_map(line::head).any(|head| matches!(head.kind, Kind::Update | Kind::Permission)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The entry in a line, unless it is output.
fn transcript_entry(line: &[u8]) -> io::Result<Option<Entry>> {
    if line::head(line).is_some_and(|head| head.kind == Kind::Output) {
        return Ok(None);
    }
    match line::parse(line)? {
        Entry::Output(_) => Ok(None),
        entry => Ok(Some(entry)),
    }
}

/// The output entry in a line, and the bytes that the program wrote.
fn output_of(line: &[u8]) -> io::Result<Option<(line::OutputLine<'_>, Vec<u8>)>> {
    let Some(output) = line::output(line) else { return Ok(None) };
    let mut raw = Vec::new();
    output.raw(&mut raw).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Some((output, raw)))
}

#[cfg(test)]
mod tests;
