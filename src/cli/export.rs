//! `loomd export`: a run as a file for others.

use std::{
    ffi::OsStr,
    fs::File,
    io::Read,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use clap::ValueEnum;

use super::{Stop, agent, client::Launch, output::Output, render};
use crate::model::{
    Failure, Stream,
    calls::{ExportFormat, ExportParams, ExportResult},
};

/// How much is passed on at a time.
const BLOCK: usize = 64 << 10;

/// Write a run to a file that others can read: text, lines of JSON, Markdown, a web page, a recording for asciinema
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The run [default: the newest]
    pub run: Option<String>,
    /// As what [default: as FILE's ending says; else markdown for an agent, text for a command]
    #[arg(long, short, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Where to, replacing what is there [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// What the program wrote, byte for byte (.txt, .log)
    Text,
    /// Every entry of the log, exactly (.jsonl)
    Jsonl,
    /// For a pull request (.md)
    Markdown,
    /// One page that needs nothing else (.html)
    Html,
    /// A recording that asciinema plays (.cast)
    Asciicast,
}

impl From<Format> for ExportFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Jsonl => Self::Jsonl,
            Format::Markdown => Self::Markdown,
            Format::Html => Self::Html,
            Format::Asciicast => Self::Asciicast,
        }
    }
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let file = options.output.as_deref().filter(|path| *path != Path::new("-"));
    let named = match (options.format, file) {
        (Some(format), _) => Some(format.into()),
        (None, Some(file)) => Some(format_of(file)?),
        (None, None) => None,
    };
    let session = launch.open_quiet().await?;
    let run = session.run(session.run_id_or_newest(options.run.as_deref()).await?).await?;
    let format = named
        .unwrap_or_else(|| if agent::is_told(&run, &session.info.providers, launch) { ExportFormat::Markdown } else { ExportFormat::Text });
    let export = async |path: &Path| {
        let params = ExportParams { run_id: run.id, format, path: Some(text(path)?) };
        session.call::<_, ExportResult>("run/export", params).await
    };
    if let Some(file) = file {
        export(&std::path::absolute(file)?).await?;
        session.close().await;
        render::note(&format!("written to {}", super::words::plain(&file.display().to_string())));
        return Ok(0);
    }
    // By way of a file: an answer would have an end, and could not hold bytes that are no text.
    let passage = Passage::open()?;
    let path = passage.0.join("run");
    export(&path).await?;
    let mut content = File::open(&path)?;
    drop(passage);
    session.close().await;
    let output = Output::start()?;
    loop {
        let mut block = vec![0; BLOCK];
        let read = content.read(&mut block)?;
        if read == 0 {
            break;
        }
        block.truncate(read);
        output.write(Stream::Stdout, block).await?;
    }
    output.flush().await?;
    Ok(0)
}

fn format_of(file: &Path) -> Result<ExportFormat, Failure> {
    let extension = file.extension().and_then(OsStr::to_str);
    extension.and_then(ExportFormat::of_extension).ok_or_else(|| {
        let known = ExportFormat::ALL.map(ExportFormat::as_str).join(", ");
        Failure::invalid_params("format", format!("the name {} does not say what to write; say --format {known}", file.display()))
    })
}

fn text(path: &Path) -> Result<String, Failure> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Failure::invalid_params("path", format!("the path {} is no text; name another one", path.display())))
}

/// A directory that goes when it is dropped.
struct Passage(PathBuf);

impl Passage {
    fn open() -> Result<Self, Stop> {
        // A name that nobody took before us, who else may use the directory above.
        let path = std::path::absolute(std::env::temp_dir())?.join(format!("loomd-export-{}", uuid::Uuid::now_v7().simple()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_to_write() {
        assert_eq!(format_of(Path::new("a/run.html")), Ok(ExportFormat::Html));
        assert_eq!(format_of(Path::new("RUN.MD")), Ok(ExportFormat::Markdown));
        assert_eq!(format_of(Path::new("run.cast")), Ok(ExportFormat::Asciicast));
        for name in ["run", "run.pdf"] {
            assert!(format_of(Path::new(name)).expect_err("unknown").message.contains("--format text, jsonl"), "{name}");
        }
    }
}
