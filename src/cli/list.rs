//! `loomd list`: the runs of the store, newest first.

use super::{Stop, agent, client::Launch, outcome, render, words};
use crate::model::{
    Run, RunState, UnixMs,
    calls::{ListParams, ListResult},
};

const LIMIT: u64 = 50;
/// Columns of a terminal that the command gets before something else is left out.
const COMMAND: usize = 20;
/// Widths where there is no terminal: the state, when it was started, how long it took, its output.
const WIDTHS: [usize; 4] = [21, 16, 7, 8];

/// List runs, newest first
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Only runs in this state (or `live`: all that have not ended); may be given several times
    #[arg(long, short, value_name = "STATE", value_parser = words::parse_states)]
    pub state: Vec<Vec<RunState>>,
    /// Only runs with this label; may be given several times
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = words::parse_pair)]
    pub label: Vec<(String, String)>,
    /// At most so many
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = LIMIT, value_parser = words::parse_count)]
    pub limit: u64,
    /// All of them
    #[arg(long, short, conflicts_with = "limit")]
    pub all: bool,
    /// Print each run as a line of JSON
    #[arg(long)]
    pub json: bool,
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let session = launch.open_quiet().await?;
    let mut left = if options.all { u64::MAX } else { options.limit };
    let states: Vec<RunState> = options.state.concat();
    let mut params = ListParams {
        states: (!states.is_empty()).then_some(states),
        label: options.label.iter().cloned().collect(),
        ..ListParams::default()
    };
    let mut is_first = true;
    while left > 0 {
        params.limit = Some(left.min(500));
        let page: ListResult = session.call("run/list", &params).await?;
        left = left.saturating_sub(page.runs.len() as u64);
        if options.json {
            for run in &page.runs {
                render::print_json(run)?;
            }
        } else {
            render::print(&table(&page.runs, is_first, render::now(), render::columns()))?;
        }
        is_first = false;
        params.cursor = page.next_cursor;
        if params.cursor.is_none() {
            break;
        }
    }
    session.close().await;
    Ok(0)
}

/// Lines for people. `columns`: of the terminal, if it is one; then a line is no longer.
fn table(runs: &[Run], with_head: bool, now: UnixMs, columns: Option<usize>) -> String {
    let cells: Vec<[String; 4]> = runs
        .iter()
        .map(|run| {
            let took = words::duration(run.ended_at.unwrap_or(now).saturating_sub(run.created_at));
            [state(run), render::when(run.created_at, now), took, words::bytes(run.bytes.total())]
        })
        .collect();
    let (shown, room) = columns.map_or((WIDTHS.len(), None), |columns| {
        let room = |shown: usize| columns.saturating_sub(10 + WIDTHS[..shown].iter().map(|width| width + 2).sum::<usize>());
        // A narrow terminal shows what a run is and how it is, rather than how much it was.
        let shown = [4, 2, 1].into_iter().find(|shown| room(*shown) >= COMMAND).unwrap_or(1);
        (shown, Some(room(shown)))
    });
    let mut text = String::new();
    if with_head && !runs.is_empty() && columns.is_some() {
        let bold = anstyle::Style::new().bold();
        let head = line("RUN     ", &["STATE", "STARTED", "TOOK", "OUTPUT"][..shown], "COMMAND", anstyle::Style::new());
        text.push_str(&format!("{bold}{}{bold:#}\n", head.trim_end()));
    }
    for (run, cells) in runs.iter().zip(&cells) {
        let what = what(run);
        let what = room.map_or(what.clone(), |room| render::cut(&what, room));
        let cells: Vec<&str> = cells[..shown].iter().map(String::as_str).collect();
        text += &format!("{}\n", line(&words::short(run.id), &cells, &what, render::state_style(run.state)));
    }
    text
}

/// A line of the table: counts stand at the right of their columns.
fn line(id: &str, cells: &[&str], what: &str, style: anstyle::Style) -> String {
    let mut line = id.to_owned();
    for (number, (cell, width)) in cells.iter().zip(WIDTHS).enumerate() {
        // Padding counts bytes of colour too, so it stands outside of it.
        let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
        line += &match number {
            0 => format!("  {style}{cell}{style:#}{padding}"),
            1 => format!("  {cell}{padding}"),
            _ => format!("  {padding}{cell}"),
        };
    }
    format!("{line}  {what}")
}

/// What a run is: its title and its command, or an agent and what it was asked.
fn what(run: &Run) -> String {
    let title = run.title.as_deref().map(words::plain);
    match agent::first_prompt_line(run) {
        Some(prompt) => format!("{}: {}", run.provider, title.unwrap_or_else(|| words::plain(&prompt))),
        None if run.session.is_some() => format!("{}: {}", run.provider, title.unwrap_or_else(|| "(no prompt)".to_owned())),
        None => match title {
            Some(title) => format!("{title} ({})", words::command_line(&run.command)),
            None => words::command_line(&run.command),
        },
    }
}

/// The state, and why, in few words.
fn state(run: &Run) -> String {
    let state = outcome::state_words(run.state);
    let is_agent = run.session.is_some() || run.params.contains_key("prompt");
    if let Some(queued @ 1..) = run.queued {
        return format!("{state}, {queued} queued");
    }
    match (run.exit_code, &run.signal) {
        _ if is_agent => state.to_owned(),
        (Some(code), _) if run.state == RunState::Failed && code != 0 => format!("{state} ({code})"),
        (None, Some(signal)) if run.state == RunState::Failed => format!("{state} ({signal})"),
        _ => state.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_is_a_line() {
        let run: Run = serde_json::from_value(json!({
            "id": "01890a5d-ac96-774b-bcce-b302099a8057", "provider": "command", "labels": {}, "pinned": false, "params": {},
            "command": ["sh", "-c", "exit 3"], "cwd": "/", "state": "failed", "exitCode": 3, "createdAt": 1_000_000, "endedAt": 1_002_500,
            "lastSeq": 4, "durableSeq": 4, "bytes": { "stdout": 1536, "stderr": 0 }
        }))
        .expect("a run");
        let line = |columns| anstream::adapter::strip_str(&table(std::slice::from_ref(&run), true, 1_060_000, columns)).to_string();
        assert_eq!(line(None), "099a8057  failed (3)             1 min ago           2.5 s   1.5 KiB  sh -c 'exit 3'\n");
        assert!(line(Some(100)).starts_with("RUN       STATE"));
        assert_eq!(line(Some(90)).lines().last(), line(None).lines().last(), "all of it has room");
        let narrow = "099a8057  failed (3)             sh -c 'exit 3'";
        assert_eq!(line(Some(60)).lines().last(), Some(narrow));
        assert_eq!(line(Some(40)).lines().last(), Some("099a8057  failed (3)             sh -c …"));
        assert!(line(Some(40)).lines().all(|line| line.chars().count() <= 40));
    }

    #[test]
    fn an_agents_run_is_what_it_was_asked() {
        let run = |more: serde_json::Value| -> Run {
            let mut run = json!({
                "id": "01890a5d-ac96-774b-bcce-b302099a8057", "provider": "codex", "labels": {}, "pinned": false, "command": ["codex", "app-server"],
                "params": { "prompt": "\nmend\u{1b} it\nplease" }, "cwd": "/", "state": "awaitingPermission", "createdAt": 1_000_000,
                "lastSeq": 4, "durableSeq": 4, "bytes": { "stdout": 1536, "stderr": 0 }
            });
            more.as_object().expect("an object").iter().for_each(|(name, value)| run[name] = value.clone());
            serde_json::from_value(run).expect("a run")
        };
        assert_eq!(what(&run(json!({}))), "codex: mend␣ it");
        assert_eq!(what(&run(json!({ "title": "T" }))), "codex: T");
        assert_eq!(state(&run(json!({}))), "waiting for an answer");
        assert_eq!(state(&run(json!({ "state": "running", "queued": 2 }))), "running, 2 queued");
    }
}
