//! `loomd list`: the runs of the store, newest first.

use std::path::PathBuf;

use serde_json::json;

use super::{EarlyExit, agent, format, options::path_on, render};
use crate::{
    client::{ServerLaunch, ServerSession, host::HostName, run_name::on_host},
    model::{Failure, Run, RunState, UnixMs, calls::ListParams, methods::RunList},
    process::current_process,
};

/// How many runs are listed by default.
const DEFAULT_LIMIT: u64 = 50;
/// Most runs in one page of `run/list`.
const MAX_PAGE_RUNS: u64 = 500;
/// Columns that the ID gets at least.
const MIN_ID_COLUMNS: usize = 8;
/// Columns that the command gets before other columns are left out.
const MIN_COMMAND_COLUMNS: usize = 20;
/// Widths of the columns: state, start, duration, output.
const COLUMN_WIDTHS: [usize; 4] = [21, 16, 7, 8];

/// List runs, newest first
#[derive(clap::Args, Debug)]
#[command(after_help = "\
With --host NAME,NAME the runs of several hosts are one list. A host that does not answer is a row that says why,
with --json {\"host\", \"error\"}; the exit code is 1 then. Runs of hosts have the name NAME/ID, with --json a `host`.")]
pub(crate) struct Options {
    /// Only runs in this state, or `live` for all that have not ended (repeatable)
    #[arg(long, short, value_name = "STATE", value_parser = format::parse_states)]
    pub(crate) state: Vec<Vec<RunState>>,
    /// Only runs with this label (repeatable)
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = format::parse_pair)]
    pub(crate) label: Vec<(String, String)>,
    /// Only runs whose agent read or changed this file
    #[arg(long, value_name = "PATH")]
    pub(crate) touched: Option<PathBuf>,
    /// List at most COUNT runs
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = DEFAULT_LIMIT, value_parser = format::parse_count)]
    pub(crate) limit: u64,
    /// List all runs
    #[arg(long, short, conflicts_with = "limit")]
    pub(crate) all: bool,
    /// Print each run as a JSON line
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let states: Vec<RunState> = options.state.concat();
    let params = ListParams {
        states: (!states.is_empty()).then_some(states),
        label: options.label.iter().cloned().collect(),
        touched: match (options.touched, launch.host()) {
            (Some(path), Some(host)) => Some(path_on(host, "--touched", path)?),
            (path, _) => path.map(absolute).transpose()?,
        },
        ..ListParams::default()
    };
    let limit = if options.all { u64::MAX } else { options.limit };
    if launch.hosts.len() > 1 {
        return list_hosts(launch, &params, limit, options.json).await;
    }
    let session = launch.open_without_notifications().await?;
    let mut is_first = true;
    each_page(&session, params, limit, |runs| {
        if options.json {
            return runs.iter().try_for_each(|run| render::print_json_of(launch.host(), run));
        }
        let rows: Vec<_> = runs.into_iter().map(|run| (launch.host(), run)).collect();
        render::print(&table(&rows, &[], std::mem::take(&mut is_first), render::now(), render::columns()))
    })
    .await?;
    session.close().await;
    Ok(0)
}

/// Passes on up to `limit` runs, page by page.
async fn each_page<E: From<Failure>>(
    session: &ServerSession,
    mut params: ListParams,
    limit: u64,
    mut pass_on: impl FnMut(Vec<Run>) -> Result<(), E>,
) -> Result<(), E> {
    let mut remaining = limit;
    while remaining > 0 {
        params.limit = Some(remaining.min(MAX_PAGE_RUNS));
        let page = session.call(RunList, &params).await?;
        remaining = remaining.saturating_sub(page.runs.len() as u64);
        pass_on(page.runs)?;
        params.cursor = page.next_cursor;
        if params.cursor.is_none() {
            break;
        }
    }
    Ok(())
}

/// Lists the runs of several hosts as one, newest first, and the hosts that did not answer.
async fn list_hosts(launch: &ServerLaunch, params: &ListParams, limit: u64, as_json: bool) -> Result<u8, EarlyExit> {
    let answers = launch.ask_each_host(async |_, session| {
        let mut all = Vec::new();
        each_page(session, params.clone(), limit, |runs| {
            all.extend(runs);
            Ok::<_, Failure>(())
        })
        .await?;
        Ok(all)
    });
    let answers = answers.await;
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for (host, answer) in &answers {
        match answer {
            Ok(runs) => rows.extend(runs.iter().map(|run| (Some(host), run.clone()))),
            Err(failure) => failed.push((host, failure.message.as_str())),
        }
    }
    rows.sort_by_key(|(_, run)| std::cmp::Reverse(run.created_at));
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    if as_json {
        rows.iter().try_for_each(|(host, run)| render::print_json_of(*host, run))?;
        failed.iter().try_for_each(|(host, error)| render::print_json(&json!({ "host": host.as_str(), "error": error })))?;
    } else {
        render::print(&table(&rows, &failed, true, render::now(), render::columns()))?;
    }
    Ok(u8::from(!failed.is_empty()))
}

/// A path that begins in our directory, by the name by which the person knows that.
fn absolute(path: PathBuf) -> Result<String, Failure> {
    let invalid = |reason: String| Failure::invalid_params("touched", format!("invalid path {}: {reason}", path.display()));
    let here = current_process::logical_directory().map_err(|error| invalid(error.to_string()))?;
    here.join(&path).into_os_string().into_string().map_err(|_| invalid("it is not valid UTF-8".to_owned()))
}

/// The table as text: the runs with their hosts, and the hosts that did not answer with the reasons. `columns`: the width of
/// the terminal, which no line exceeds.
fn table(rows: &[(Option<&HostName>, Run)], failed: &[(&HostName, &str)], with_head: bool, now: UnixMs, columns: Option<usize>) -> String {
    let ids: Vec<String> = rows.iter().map(|(host, run)| on_host(*host, format::short_id(run.id))).collect();
    let hosts = failed.iter().map(|(host, _)| host.as_str());
    let id_width = ids.iter().map(String::as_str).chain(hosts).map(str::len).max().unwrap_or(0).max(MIN_ID_COLUMNS);
    let cells: Vec<[String; 4]> = rows
        .iter()
        .map(|(_, run)| {
            let took = format::duration(run.ended_at.unwrap_or(now).saturating_sub(run.created_at));
            [state(run), render::format_time(run.created_at, now), took, format::bytes(run.bytes.total())]
        })
        .collect();
    let (shown_columns, width) = columns.map_or((COLUMN_WIDTHS.len(), None), |columns| {
        let width = |shown_columns: usize| {
            columns.saturating_sub(id_width + 2 + COLUMN_WIDTHS[..shown_columns].iter().map(|width| width + 2).sum::<usize>())
        };
        // A narrow terminal shows the state and the command rather than times and sizes.
        let shown_columns = [4, 2, 1].into_iter().find(|shown_columns| width(*shown_columns) >= MIN_COMMAND_COLUMNS).unwrap_or(1);
        (shown_columns, Some(width(shown_columns)))
    });
    let mut text = String::new();
    let pad = |id: &str| format!("{id:id_width$}");
    if with_head && !(rows.is_empty() && failed.is_empty()) && columns.is_some() {
        let bold = anstyle::Style::new().bold();
        let head = line(&pad("RUN"), &["STATE", "STARTED", "TIME", "OUTPUT"][..shown_columns], "COMMAND", anstyle::Style::new());
        text.push_str(&format!("{bold}{}{bold:#}\n", head.trim_end()));
    }
    for (((_, run), id), cells) in rows.iter().zip(&ids).zip(&cells) {
        let summary = summary(run);
        let summary = width.map_or(summary.clone(), |width| render::truncate(&summary, width));
        let cells: Vec<&str> = cells[..shown_columns].iter().map(String::as_str).collect();
        text += &format!("{}\n", line(&pad(id), &cells, &summary, render::state_style(run.state)));
    }
    for (host, reason) in failed {
        let reason = format::plain(reason);
        let room = columns.map_or(usize::MAX, |columns| columns.saturating_sub(id_width + 4 + COLUMN_WIDTHS[0]));
        let cells = ["no answer"];
        text += &format!("{}\n", line(&pad(host.as_str()), &cells, &render::truncate(&reason, room), render::state_style(RunState::Lost)));
    }
    text
}

/// A line of the table. Durations and sizes are aligned to the right.
fn line(id: &str, cells: &[&str], summary: &str, style: anstyle::Style) -> String {
    let mut line = id.to_owned();
    for (number, (cell, width)) in cells.iter().zip(COLUMN_WIDTHS).enumerate() {
        // `format!` would count the bytes of the style as columns, so the padding is made here.
        let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
        line += &match number {
            0 => format!("  {style}{cell}{style:#}{padding}"),
            1 => format!("  {cell}{padding}"),
            _ => format!("  {padding}{cell}"),
        };
    }
    format!("{line}  {summary}")
}

/// The title and the command of a run, or the agent and its prompt.
fn summary(run: &Run) -> String {
    let title = run.title.as_deref().map(format::plain);
    match agent::first_prompt_line(run) {
        Some(prompt) => format!("{}: {}", run.provider, title.unwrap_or_else(|| format::plain(&prompt))),
        None if run.session.is_some() => format!("{}: {}", run.provider, title.unwrap_or_else(|| "(no prompt)".to_owned())),
        None => match title {
            Some(title) => format!("{title} ({})", format::command_line(&run.command)),
            None => format::command_line(&run.command),
        },
    }
}

/// The state, with the queued prompts or the exit status.
fn state(run: &Run) -> String {
    let state = run.state.shown();
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
        let line = |columns| anstream::adapter::strip_str(&table(&[(None, run.clone())], &[], true, 1_060_000, columns)).to_string();
        assert_eq!(line(None), "099a8057  failed (3)             1 min ago           2.5 s   1.5 KiB  sh -c 'exit 3'\n");
        assert!(line(Some(100)).starts_with("RUN       STATE"));
        assert_eq!(line(Some(90)).lines().last(), line(None).lines().last(), "all columns fit");
        let narrow = "099a8057  failed (3)             sh -c 'exit 3'";
        assert_eq!(line(Some(60)).lines().last(), Some(narrow));
        assert_eq!(line(Some(40)).lines().last(), Some("099a8057  failed (3)             sh -c …"));
        assert!(line(Some(40)).lines().all(|line| line.chars().count() <= 40));
    }

    #[test]
    fn runs_of_hosts_and_hosts_without_an_answer_share_the_columns() {
        let run: Run = serde_json::from_value(json!({
            "id": "01890a5d-ac96-774b-bcce-b302099a8057", "provider": "command", "labels": {}, "pinned": false, "params": {},
            "command": ["true"], "cwd": "/", "state": "succeeded", "exitCode": 0, "createdAt": 1_000_000, "endedAt": 1_002_500,
            "lastSeq": 4, "durableSeq": 4, "bytes": { "stdout": 0, "stderr": 0 }
        }))
        .expect("a run");
        let [near, far]: [HostName; 2] = ["a", "me@build.example"].map(|name| name.parse().expect("a name"));
        let text = |columns| table(&[(Some(&near), run.clone())], &[(&far, "it\u{1b} hangs")], true, 1_060_000, columns);
        let lines = |columns| anstream::adapter::strip_str(&text(columns)).to_string();
        assert_eq!(
            lines(None),
            "a/099a8057        succeeded              1 min ago           2.5 s       0 B  true\nme@build.example  no answer              it␣ hangs\n"
        );
        assert!(lines(Some(50)).lines().all(|line| line.chars().count() <= 50), "{}", lines(Some(50)));
    }

    #[test]
    fn an_agents_run_is_its_prompt() {
        let run = |more: serde_json::Value| -> Run {
            let mut run = json!({
                "id": "01890a5d-ac96-774b-bcce-b302099a8057", "provider": "codex", "labels": {}, "pinned": false, "command": ["codex", "app-server"],
                "params": { "prompt": "\nfix\u{1b} it\nplease" }, "cwd": "/", "state": "awaitingPermission", "createdAt": 1_000_000,
                "lastSeq": 4, "durableSeq": 4, "bytes": { "stdout": 1536, "stderr": 0 }
            });
            more.as_object().expect("an object").iter().for_each(|(name, value)| run[name] = value.clone());
            serde_json::from_value(run).expect("a run")
        };
        assert_eq!(summary(&run(json!({}))), "codex: fix␣ it");
        assert_eq!(summary(&run(json!({ "title": "T" }))), "codex: T");
        assert_eq!(state(&run(json!({}))), "needs input");
        assert_eq!(state(&run(json!({ "state": "running", "queued": 2 }))), "running, 2 queued");
    }
}
