//! A run as a file that can be read without loomd: its text, its entries, a page, a recording of a terminal.
//!
//! Entries go in one by one, bytes come out: what is held does not grow with the run. Nothing here decides where the bytes go
//! but [`mod@file`], and nothing an agent or a program wrote gets out of its place in what is made of it.

mod ansi;
mod calls;
mod cast;
mod facts;
pub mod file;
mod html;
mod kept;
mod markdown;
mod patch;
mod pen;
mod story;
#[cfg(test)]
mod tests;
mod text;
mod told;
mod words;

use std::io::{self, Write};

use crate::{
    history::{Forward, Found, History},
    model::{Entry, Failure, Kind, Run, calls::ExportFormat, line},
};

/// How much of a log is read at a time.
const BLOCK: usize = 256 << 10;
/// An agent has said something within so many bytes of its log; else its run is shown as a command's is.
const FIRST_WORDS: usize = 8 << 20;

/// Why an export ends early.
#[derive(Debug)]
pub enum Trouble {
    /// The bytes cannot be written.
    Write(io::Error),
    /// The run cannot be read.
    Read(Failure),
    Cancelled,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Read(failure)
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
pub fn write(
    history: &History,
    run: &Run,
    format: ExportFormat,
    out: &mut dyn Write,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<(), Trouble> {
    let is_told = format != ExportFormat::Jsonl && is_told(history, run, is_cancelled)?;
    let mut render = renderer(run, format, is_told);
    render.begin(out)?;
    let mut reader = Forward::new(run.id, 0);
    let mut lines = Vec::new();
    while reader.seq() < run.last_seq {
        if is_cancelled() {
            return Err(Trouble::Cancelled);
        }
        lines.clear();
        if reader.read(history, BLOCK, &mut lines)? == Found::Nothing {
            // It was there a moment ago.
            return Err(Failure::run_not_found(run.id).into());
        }
        for line in line::lines(&lines) {
            if line::head(line).is_some_and(|head| head.seq > run.last_seq) {
                break;
            }
            render.line(line, out).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    let path = history.dir(run.id).path().to_owned();
                    Trouble::Read(Failure::store(path, format!("an entry of the run is not understood: {error}; `loomd doctor` says more")))
                }
                _ => Trouble::Write(error),
            })?;
        }
    }
    render.finish(out)?;
    Ok(())
}

fn renderer<'a>(run: &'a Run, format: ExportFormat, is_told: bool) -> Box<dyn Render + 'a> {
    match format {
        ExportFormat::Text if is_told => Box::new(text::Told::new()),
        ExportFormat::Text => Box::new(text::Text),
        ExportFormat::Jsonl => Box::new(text::Lines),
        ExportFormat::Markdown if is_told => Box::new(markdown::Agent::new(run)),
        ExportFormat::Markdown => Box::new(markdown::Command::new(run)),
        ExportFormat::Html => Box::new(html::Page::new(run, is_told, &uuid::Uuid::now_v7().simple().to_string())),
        ExportFormat::Asciicast => Box::new(cast::Cast::new(run, is_told)),
    }
}

/// Whether what the run did is told by updates, so that its output is only how it was told.
fn is_told(history: &History, run: &Run, is_cancelled: &dyn Fn() -> bool) -> Result<bool, Trouble> {
    let is_asked = run.params.contains_key("prompt") || run.params.contains_key("resume") || run.session.is_some();
    if !is_asked {
        return Ok(false);
    }
    let mut reader = Forward::new(run.id, 0);
    let (mut lines, mut seen) = (Vec::new(), 0);
    while reader.seq() < run.last_seq && seen < FIRST_WORDS && !is_cancelled() {
        lines.clear();
        if reader.read(history, BLOCK, &mut lines)? == Found::Nothing {
            break;
        }
        seen += lines.len();
        if line::lines(&lines).filter_map(line::head).any(|head| matches!(head.kind, Kind::Update | Kind::Permission)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The entry in a line, where it means something beside what the program wrote.
fn meaning(line: &[u8]) -> io::Result<Option<Entry>> {
    if line::head(line).is_some_and(|head| head.kind == Kind::Output) {
        return Ok(None);
    }
    match line::parse(line)? {
        Entry::Output(_) => Ok(None),
        entry => Ok(Some(entry)),
    }
}

/// The bytes that the program wrote, in a line.
fn written(line: &[u8]) -> io::Result<Option<(line::OutputLine<'_>, Vec<u8>)>> {
    let Some(output) = line::output(line) else { return Ok(None) };
    let mut raw = Vec::new();
    output.raw(&mut raw).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Some((output, raw)))
}
