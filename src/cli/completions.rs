//! `loomd completions`: what a shell needs to complete our words.

use clap_complete::Shell;

use super::{Stop, render};

/// Print completions for a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  loomd completions bash > ~/.local/share/bash-completion/completions/loomd")]
pub struct Options {
    pub shell: Shell,
}

pub async fn main(options: Options, mut grammar: clap::Command) -> Result<u8, Stop> {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut grammar, "loomd", &mut text);
    render::print(&String::from_utf8_lossy(&text))?;
    Ok(0)
}
