//! `loomd sessions`: an agent's own sessions, including those started outside of loomd.

use std::path::PathBuf;

use super::{
    EarlyExit, format,
    options::path_on,
    render::{self, Spinner, Styles},
};
use crate::{
    client::ServerLaunch,
    model::{
        Failure, UnixMs,
        calls::{ListedSession, SessionsParams},
        methods::SessionList,
    },
};

/// How many sessions are listed by default.
const DEFAULT_LIMIT: usize = 50;

/// List an agent's own sessions, to resume with `loomd run PROVIDER --resume SESSION`
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Provider, as listed by `loomd providers`
    pub(crate) provider: String,
    /// Only sessions of this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// List at most COUNT sessions
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = DEFAULT_LIMIT)]
    pub(crate) limit: usize,
    /// List all sessions
    #[arg(long, short, conflicts_with = "limit")]
    pub(crate) all: bool,
    /// Print each session as a JSON line
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let session = launch.open_without_notifications().await?;
    let cwd = match (options.cwd.clone(), launch.host()) {
        (Some(dir), Some(host)) => Some(path_on(host, "--cwd", dir)?),
        (Some(dir), None) => {
            let dir = std::path::absolute(dir).map_err(|error| Failure::invalid_params("cwd", format!("invalid directory: {error}")))?;
            Some(dir.to_string_lossy().into_owned())
        }
        (None, _) => None,
    };
    let limit = if options.all { usize::MAX } else { options.limit };
    let mut params = SessionsParams { provider: options.provider.clone(), cwd, cursor: None };
    let mut sessions: Vec<ListedSession> = Vec::new();
    let spinner = Spinner::start(format!("Loading sessions from {}", format::plain(&options.provider)));
    while sessions.len() < limit {
        let page = session.call(SessionList, &params).await?;
        let is_empty = page.sessions.is_empty();
        sessions.extend(page.sessions);
        params.cursor = page.next_cursor;
        if is_empty || params.cursor.is_none() {
            break;
        }
    }
    drop(spinner);
    sessions.truncate(limit);
    if options.json {
        sessions.iter().try_for_each(|listed| render::print_json_of(launch.host(), listed))?;
    } else {
        render::print(&table(&sessions, launch, render::now(), render::columns(), Styles::of_stdout()))?;
    }
    session.close().await;
    Ok(0)
}

fn table(sessions: &[ListedSession], launch: &ServerLaunch, now: UnixMs, columns: Option<usize>, styles: Styles) -> String {
    let rows: Vec<[String; 5]> = sessions
        .iter()
        .map(|session| {
            let used = session.updated_at.map_or_else(String::new, |at| render::format_time(at, now));
            let run = session.run_id.map_or_else(String::new, |id| launch.shown_id(id));
            let plain = |text: &Option<String>| text.as_deref().map_or_else(String::new, |text| format::plain(text.trim()));
            [format::plain(&session.id), used, run, plain(&session.cwd), plain(&session.title)]
        })
        .collect();
    render::table(["SESSION", "UPDATED", "RUN", "DIRECTORY", "TITLE"], &rows, columns, styles)
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
        assert_eq!(table(&[session], &ServerLaunch::default(), 1_060_000, None, Styles::default()), "s-1  1 min ago    /w  日本␣\n");
    }
}
