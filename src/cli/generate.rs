//! `loomd schema`, `loomd completions` and `loomd man`: texts that loomd generates from its own types and command line.
//!
//! None of them needs a server.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap_complete::Shell;

use super::{EarlyExit, render};
use crate::model::{Failure, reference};

const SCHEMA_FILE: &str = "docs/protocol.schema.json";
const REFERENCE_FILE: &str = "docs/protocol.md";

/// Print the protocol as JSON Schema or as Markdown
#[derive(clap::Args, Debug)]
pub(crate) struct SchemaOptions {
    /// Print the reference in Markdown
    #[arg(long)]
    pub(crate) markdown: bool,
    /// Write both to docs/ in the current directory (for loomd's developers)
    #[arg(long)]
    pub(crate) write: bool,
}

/// Print shell completions
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  loomd completions bash > ~/.local/share/bash-completion/completions/loomd")]
pub(crate) struct CompletionsOptions {
    pub(crate) shell: Shell,
}

/// Print the manual page, or write the pages of all commands
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  loomd man --dir ~/.local/share/man/man1")]
pub(crate) struct ManOptions {
    /// Write one page per command to this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

pub(crate) async fn schema(options: SchemaOptions) -> Result<u8, EarlyExit> {
    if options.write {
        write(SCHEMA_FILE, &json_schema()?)?;
        write(REFERENCE_FILE, &reference::markdown())?;
        return Ok(0);
    }
    render::print(&if options.markdown { reference::markdown() } else { json_schema()? })?;
    Ok(0)
}

fn json_schema() -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(&reference::json_schema());
    Ok(text.map_err(|error| Failure::internal(format!("cannot serialize the schema: {error}")))? + "\n")
}

fn write(path: &str, text: &str) -> Result<(), Failure> {
    let write_failed = |error| Failure::internal(format!("cannot write {path}: {error}; run this in loomd's source directory"));
    fs::write(Path::new(path), text).map_err(write_failed)
}

pub(crate) async fn completions(options: CompletionsOptions, mut command_line: clap::Command) -> Result<u8, EarlyExit> {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut command_line, "loomd", &mut text);
    render::print(&String::from_utf8_lossy(&text))?;
    Ok(0)
}

pub(crate) async fn man(options: ManOptions, command_line: clap::Command) -> Result<u8, EarlyExit> {
    if let Some(dir) = options.dir {
        let written = fs::create_dir_all(&dir).and_then(|()| clap_mangen::generate_to(command_line, &dir));
        written.map_err(|error| Failure::internal(format!("cannot write manual pages to {}: {error}", dir.display())))?;
        return Ok(0);
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(command_line).render(&mut text)?;
    render::print(&String::from_utf8_lossy(&text))?;
    Ok(0)
}
