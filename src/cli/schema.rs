//! `loomd schema`: the protocol, made from the types that speak it.

use std::{fs, path::Path};

use super::{Stop, render};
use crate::model::{Failure, reference};

const SCHEMA_FILE: &str = "docs/protocol.schema.json";
const REFERENCE_FILE: &str = "docs/protocol.md";

/// Print the protocol as JSON Schema, or as a reference to read
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The reference, in Markdown
    #[arg(long)]
    pub markdown: bool,
    /// Write both to docs/ of this directory (for those who work on loomd)
    #[arg(long)]
    pub write: bool,
}

pub async fn main(options: Options) -> Result<u8, Stop> {
    if options.write {
        write(SCHEMA_FILE, &schema()?)?;
        write(REFERENCE_FILE, &reference::markdown())?;
        return Ok(0);
    }
    render::print(&if options.markdown { reference::markdown() } else { schema()? })?;
    Ok(0)
}

fn schema() -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(&reference::json_schema());
    Ok(text.map_err(|error| Failure::internal(format!("the schema cannot be written as JSON: {error}")))? + "\n")
}

fn write(path: &str, text: &str) -> Result<(), Failure> {
    let failed = |error| Failure::internal(format!("{path} cannot be written: {error}; run this where loomd's own docs/ is"));
    fs::write(Path::new(path), text).map_err(failed)
}
