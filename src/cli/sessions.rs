//! `loomd sessions`: a provider's own sessions, also those made outside of loomd.

use std::path::PathBuf;

use super::{
    Stop,
    client::Launch,
    render::{self, Ink, Spinner},
    words,
};
use crate::model::{
    Failure, UnixMs,
    calls::{ListedSession, SessionsParams, SessionsResult},
};

const LIMIT: usize = 50;

/// List an agent's own sessions, which `loomd run PROVIDER --resume SESSION` goes on with
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The provider, as `loomd providers` lists it
    pub provider: String,
    /// Only sessions of this directory
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// At most so many
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = LIMIT)]
    pub limit: usize,
    /// All of them
    #[arg(long, short, conflicts_with = "limit")]
    pub all: bool,
    /// Print each as a line of JSON
    #[arg(long)]
    pub json: bool,
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let session = launch.open_quiet().await?;
    let cwd = options.cwd.as_ref().map(std::path::absolute).transpose();
    let cwd = cwd.map_err(|error| Failure::invalid_params("cwd", format!("the directory cannot be used: {error}")))?;
    let cwd = cwd.map(|dir| dir.to_string_lossy().into_owned());
    let limit = if options.all { usize::MAX } else { options.limit };
    let mut params = SessionsParams { provider: options.provider.clone(), cwd, cursor: None };
    let mut found: Vec<ListedSession> = Vec::new();
    let spinner = Spinner::start(format!("asking {}", words::plain(&options.provider)));
    while found.len() < limit {
        let page: SessionsResult = session.call("session/list", &params).await?;
        let is_empty = page.sessions.is_empty();
        found.extend(page.sessions);
        params.cursor = page.next_cursor;
        if is_empty || params.cursor.is_none() {
            break;
        }
    }
    drop(spinner);
    found.truncate(limit);
    if options.json {
        found.iter().try_for_each(render::print_json)?;
    } else {
        render::print(&table(&found, render::now(), render::columns(), Ink::of_stdout()))?;
    }
    session.close().await;
    Ok(0)
}

fn table(sessions: &[ListedSession], now: UnixMs, columns: Option<usize>, ink: Ink) -> String {
    let rows: Vec<[String; 5]> = sessions
        .iter()
        .map(|session| {
            let used = session.updated_at.map_or_else(String::new, |at| render::when(at, now));
            let run = session.run_id.map_or_else(String::new, words::short);
            let plain = |text: &Option<String>| text.as_deref().map_or_else(String::new, |text| words::plain(text.trim()));
            [words::plain(&session.id), used, run, plain(&session.cwd), plain(&session.title)]
        })
        .collect();
    render::table(["SESSION", "USED", "RUN", "DIRECTORY", "TITLE"], &rows, columns, ink)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_a_line() {
        let session = ListedSession {
            id: "s-1".to_owned(),
            cwd: Some("/w".to_owned()),
            title: Some("日本\u{1b}".to_owned()),
            updated_at: Some(1_000_000),
            run_id: None,
        };
        assert_eq!(table(&[session], 1_060_000, None, Ink::default()), "s-1  1 min ago    /w  日本␣\n");
    }
}
