//! `loomd export`: writes a run to a file that can be read without loomd.

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use clap::ValueEnum;

use super::{EarlyExit, output::OutputWriter, render, screen::Content};
use crate::{
    client::ServerLaunch,
    model::{
        Failure, FailureKind, RunId, Stream,
        calls::{ExportFormat, ExportParams},
        methods::RunExport,
    },
};

/// Bytes that are copied to stdout at a time.
const READ_BLOCK_BYTES: usize = 64 << 10;

/// Export a run to a file: text, JSON lines, Markdown, HTML or an asciinema recording
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Run ID or its last digits [default: the newest run]
    pub(crate) run: Option<String>,
    /// Format [default: by FILE's extension, or else markdown for agents and text for commands]
    #[arg(long, short, value_name = "FORMAT")]
    pub(crate) format: Option<ExportFormatOption>,
    /// File to write, overwriting it [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormatOption {
    /// Raw output, byte for byte (.txt, .log)
    Text,
    /// All log entries, one JSON object per line (.jsonl)
    Jsonl,
    /// Markdown, e.g. for a pull request (.md)
    Markdown,
    /// Self-contained web page (.html)
    Html,
    /// asciinema recording (.cast)
    Asciicast,
}

impl From<ExportFormatOption> for ExportFormat {
    fn from(format: ExportFormatOption) -> Self {
        match format {
            ExportFormatOption::Text => Self::Text,
            ExportFormatOption::Jsonl => Self::Jsonl,
            ExportFormatOption::Markdown => Self::Markdown,
            ExportFormatOption::Html => Self::Html,
            ExportFormatOption::Asciicast => Self::Asciicast,
        }
    }
}

pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let file = options.output.as_deref().filter(|path| *path != Path::new("-"));
    let named = match (options.format, file) {
        (Some(format), _) => Some(format.into()),
        (None, Some(file)) => Some(format_of(file)?),
        (None, None) => None,
    };
    let session = launch.open_without_notifications().await?;
    let run = session.run(session.run_id_or_newest(options.run.as_deref()).await?).await?;
    let format = named.unwrap_or(if run.has_transcript { ExportFormat::Markdown } else { ExportFormat::Text });
    let export = async |path: &Path| {
        let params = ExportParams { run_id: run.id, format, path: Some(utf8(path)?) };
        session.call(RunExport, params).await
    };
    if launch.host().is_some() {
        // The server would write a file there.
        let params = ExportParams { run_id: run.id, format, path: None };
        let content =
            session.call(RunExport, params).await.map_err(|failure| too_large(failure, launch, run.id))?.content.unwrap_or_default();
        session.close().await;
        if format == ExportFormat::Text && content.contains(char::REPLACEMENT_CHARACTER) {
            let id = launch.shown_id(run.id);
            render::warn(&format!("bytes that are not UTF-8 are replaced; `loomd logs --raw {id}` prints every byte"));
        }
        match file {
            Some(file) => {
                write_private(file, content.as_bytes())?;
                render::note(&format!("Exported to {}", super::format::plain(&file.display().to_string())));
            }
            None => write_to_stdout(format, content.as_bytes()).await?,
        }
        return Ok(0);
    }
    if let Some(file) = file {
        export(&std::path::absolute(file)?).await?;
        session.close().await;
        render::note(&format!("Exported to {}", super::format::plain(&file.display().to_string())));
        return Ok(0);
    }
    // The server writes a file also for stdout: the text in a result is limited, and cannot hold bytes that are not
    // UTF-8.
    let export_dir = ExportDir::create()?;
    let path = export_dir.0.join("run");
    export(&path).await?;
    let mut content = File::open(&path)?;
    drop(export_dir);
    session.close().await;
    write_to_stdout(format, &mut content).await?;
    Ok(0)
}

async fn write_to_stdout(format: ExportFormat, mut content: impl Read) -> Result<(), EarlyExit> {
    let output = OutputWriter::start(match format {
        ExportFormat::Text => Content::Output,
        ExportFormat::Jsonl | ExportFormat::Asciicast => Content::Json,
        ExportFormat::Markdown | ExportFormat::Html => Content::Plain,
    })?;
    loop {
        let mut block = vec![0; READ_BLOCK_BYTES];
        let read = content.read(&mut block)?;
        if read == 0 {
            break;
        }
        block.truncate(read);
        output.write(Stream::Stdout, block).await?;
    }
    output.flush().await
}

/// What to do about an export that is too large for one answer.
fn too_large(failure: Failure, launch: &ServerLaunch, run_id: RunId) -> Failure {
    match (failure.kind, launch.host()) {
        (FailureKind::Limit, Some(host)) => {
            Failure { message: format!("{failure}; write it there: `ssh {host} loomd export {run_id} -o FILE`"), ..failure }
        }
        _ => failure,
    }
}

/// Writes a file that its owner alone may read, and that appears whole under its name.
fn write_private(file: &Path, content: &[u8]) -> Result<(), EarlyExit> {
    let path = std::path::absolute(file)?;
    let new = path.with_file_name(format!(".loomd-export-{}", uuid::Uuid::now_v7().simple()));
    let written = File::options().write(true).create_new(true).mode(0o600).open(&new).and_then(|mut file| file.write_all(content));
    written.and_then(|()| std::fs::rename(&new, &path)).map_err(|error| {
        std::fs::remove_file(&new).ok();
        Failure::invalid_params("path", format!("cannot write {}: {error}", path.display())).into()
    })
}

/// The format that a file's extension stands for.
fn format_of(file: &Path) -> Result<ExportFormat, Failure> {
    let extension = file.extension().and_then(OsStr::to_str);
    extension.and_then(ExportFormat::of_extension).ok_or_else(|| {
        let formats = ExportFormat::ALL.iter().map(|format| format.as_str()).collect::<Vec<_>>().join(", ");
        let message = format!("cannot tell the format from the name {}; use --format {formats}", file.display());
        Failure::invalid_params("format", message)
    })
}

fn utf8(path: &Path) -> Result<String, Failure> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Failure::invalid_params("path", format!("the path {} is not valid UTF-8", path.display())))
}

/// A temporary directory that is removed when it is dropped.
struct ExportDir(PathBuf);

impl ExportDir {
    fn create() -> Result<Self, EarlyExit> {
        // Others may use the directory for temporary files as well. `create` fails if the name exists already.
        let path = std::path::absolute(std::env::temp_dir())?.join(format!("loomd-export-{}", uuid::Uuid::now_v7().simple()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for ExportDir {
    fn drop(&mut self) {
        // A directory that cannot be removed is left to the system's cleaning of temporary files.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_of_the_file_is_the_format() {
        assert_eq!(format_of(Path::new("a/run.html")), Ok(ExportFormat::Html));
        assert_eq!(format_of(Path::new("RUN.MD")), Ok(ExportFormat::Markdown));
        assert_eq!(format_of(Path::new("run.cast")), Ok(ExportFormat::Asciicast));
        for name in ["run", "run.pdf"] {
            assert!(format_of(Path::new(name)).expect_err("unknown").message.contains("--format text, jsonl"), "{name}");
        }
    }
}
