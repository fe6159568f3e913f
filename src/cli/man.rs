//! `loomd man`: manual pages.

use std::path::PathBuf;

use super::{Stop, render};
use crate::model::Failure;

/// Print the manual page, or write those of all commands
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  loomd man --dir ~/.local/share/man/man1")]
pub struct Options {
    /// Write one page for each command into this directory
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

pub async fn main(options: Options, grammar: clap::Command) -> Result<u8, Stop> {
    if let Some(dir) = options.dir {
        let written = std::fs::create_dir_all(&dir).and_then(|()| clap_mangen::generate_to(grammar, &dir));
        written.map_err(|error| Failure::internal(format!("manual pages cannot be written to {}: {error}", dir.display())))?;
        return Ok(0);
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(grammar).render(&mut text)?;
    render::print(&String::from_utf8_lossy(&text))?;
    Ok(0)
}
