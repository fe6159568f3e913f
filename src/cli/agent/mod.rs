//! Agents on a terminal: their transcript as it grows, permission requests, and a line for the next prompt.

pub(crate) mod interactive;
pub(crate) mod keyboard;
pub(crate) mod permission_prompt;
pub(crate) mod renderer;
pub(crate) mod start;

use std::{collections::VecDeque, io::IsTerminal};

use serde_json::{Value, json};

use self::renderer::Renderer;
use super::{EarlyExit, render};
use crate::{
    client::{ServerLaunch, ServerSession},
    model::{
        Failure, ProviderInfo, Run, RunId,
        calls::{ItemsParams, ItemsResult},
        item::{Item, ItemChange},
        methods::RunItems,
    },
};

/// Longest page of `run/items`, in bytes, and most of its items.
const MAX_PAGE_BYTES: u64 = 4 << 20;
const MAX_PAGE_ITEMS: u64 = 1000;

/// The first line of the run's prompt, for lists.
pub(crate) fn first_prompt_line(run: &Run) -> Option<String> {
    let prompt = run.params.get("prompt")?;
    let text = match prompt {
        Value::String(text) => text.as_str(),
        blocks => blocks.as_array()?.iter().find_map(|block| block["text"].as_str())?,
    };
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

/// Draws all items that the run has now and passes the text on after each page, so that a long run costs no memory. Returns the
/// entry after which whoever follows the run goes on.
pub(crate) async fn render_history<F>(session: &ServerSession, run: &Run, renderer: &mut Renderer, mut pass_on: F) -> Result<u64, EarlyExit>
where
    F: AsyncFnMut(String) -> Result<(), EarlyExit>,
{
    let (mut after, mut first_page) = (0, None);
    loop {
        let page = items(session, run.id, Some(after), None).await?;
        // A run that grows faster than it is drawn would have no end.
        let (seq, total) = *first_page.get_or_insert((page.seq, page.total));
        page.items.into_iter().filter(|item| item.item <= total).for_each(|item| renderer.change(item.last_seq, whole(item)));
        pass_on(renderer.take()).await?;
        match page.next {
            Some(next) if next > after && next < total => after = next,
            _ => return Ok(seq),
        }
    }
}

/// The last lines of the transcript, and the entry after which whoever follows the run goes on. Only as many of the last items are read
/// as are needed for them.
pub(crate) async fn render_tail(
    session: &ServerSession,
    run: &Run,
    renderer: &mut Renderer,
    lines: u64,
) -> Result<(String, u64), EarlyExit> {
    let mut last: VecDeque<Item> = VecDeque::new();
    let mut page = items(session, run.id, None, None).await?;
    let seq = page.seq;
    loop {
        page.items.into_iter().rev().for_each(|item| last.push_front(item));
        let mut drawn = renderer.anew();
        last.iter().cloned().for_each(|item| drawn.change(item.last_seq, whole(item)));
        let text = drawn.take();
        match page.prev {
            Some(before) if (text.lines().count() as u64) <= lines => {
                page = items(session, run.id, None, Some(before)).await?;
            }
            _ => {
                *renderer = drawn;
                return Ok((last_lines(&text, lines), seq));
            }
        }
    }
}

/// A page of items: those after an item, those before one, or the last ones.
pub(crate) async fn items(session: &ServerSession, run_id: RunId, after: Option<u64>, before: Option<u64>) -> Result<ItemsResult, Failure> {
    session.call(RunItems, ItemsParams { run_id, after, before, limit: Some(MAX_PAGE_ITEMS), max_bytes: Some(MAX_PAGE_BYTES) }).await
}

fn whole(item: Item) -> ItemChange {
    ItemChange::Whole { item: Box::new(item) }
}

/// The last lines of a text. An unfinished one counts.
fn last_lines(text: &str, lines: u64) -> String {
    let end = text.trim_end_matches('\n').len();
    let from = match usize::try_from(lines).unwrap_or(usize::MAX) {
        0 => text.len(),
        lines => memchr::memrchr_iter(b'\n', &text.as_bytes()[..end]).nth(lines - 1).map_or(0, |at| at + 1),
    };
    text[from..].to_owned()
}

/// Prints how the session can be continued, if stderr is a terminal.
pub(crate) fn print_session_hint(launch: &ServerLaunch, run: &Run) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    if run.taken_over_at.is_some() {
        return render::note("Session continued in another terminal");
    }
    let can_be_opened = run.session.as_ref().is_some_and(|session| session.takeover.iter().any(|way| way.command.is_some()));
    if can_be_opened {
        let (id, command) = (launch.shown_id(run.id), launch.command_prefix());
        let start = launch.host().map_or_else(|| command.clone(), |host| format!("{command} --host {host}"));
        render::note(&format!(
            "Resume: {start} run {} --resume {id} \"PROMPT\"\nOpen in the agent's own program: {command} takeover {id}",
            run.provider
        ));
    }
}

/// The name of the MCP server of `--past`, which is a part of its tools' names.
const SERVER_NAME: &str = "loomd";

/// The arguments that make the agent start `loomd mcp`. Its tools only read, so that it need not ask before it calls them.
pub(crate) fn past_arguments(provider: &ProviderInfo, launch: &ServerLaunch) -> Result<Vec<String>, Failure> {
    let (program, args) = launch.front_end_command("mcp")?;
    match provider.kind.as_str() {
        "claude" => {
            let servers = json!({ "mcpServers": { SERVER_NAME: { "command": program, "args": args } } });
            // The options take every argument that follows them, so each is one argument.
            Ok(vec![format!("--mcp-config={servers}"), format!("--allowedTools=mcp__{SERVER_NAME}")])
        }
        "codex" => {
            let settings = [("command", json!(program)), ("args", json!(args)), ("default_tools_approval_mode", json!("approve"))];
            // A string or a list of strings is the same in TOML as in JSON.
            let set = |(name, value)| ["-c".to_owned(), format!("mcp_servers.{SERVER_NAME}.{name}={value}")];
            Ok(settings.into_iter().flat_map(set).collect())
        }
        _ => {
            let message =
                format!("--past is only for Claude Code and Codex; `{}` takes MCP servers in its own settings (docs/mcp.md)", provider.id);
            Err(Failure::invalid_params("provider", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Locations;

    #[test]
    fn the_last_lines_of_a_text() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last_lines("a\nb", 1), "b");
        assert_eq!(last_lines("a\nb", 9), "a\nb");
        assert_eq!(last_lines("a\nb", 0), "");
    }

    fn provider(kind: &str) -> ProviderInfo {
        let capabilities = json!({ "resume": true, "send": true, "steer": true, "interrupt": true, "permissions": true, "updates": true });
        serde_json::from_value(json!({ "id": "mine", "title": "T", "kind": kind, "available": true, "capabilities": capabilities }))
            .expect("a provider")
    }

    fn of(kind: &str) -> Result<Vec<String>, Failure> {
        let locations = Locations { data_dir: Some("/my runs".into()), config: Some("/c.toml".into()) };
        past_arguments(&provider(kind), &ServerLaunch { locations, ..ServerLaunch::default() })
    }

    #[test]
    fn claude_gets_json_and_codex_toml() {
        let claude = of("claude").expect("arguments");
        let servers: Value = serde_json::from_str(claude[0].strip_prefix("--mcp-config=").expect("the option")).expect("JSON");
        let expected = ["--data-dir", "/my runs", "--config", "/c.toml", "mcp"];
        assert_eq!(servers["mcpServers"]["loomd"]["args"], json!(expected));
        assert_eq!(claude[1], "--allowedTools=mcp__loomd");

        let codex = of("codex").expect("arguments");
        let text = codex.iter().filter(|word| *word != "-c").map(|word| format!("{word}\n")).collect::<String>();
        let settings: toml::Table = toml::from_str(&text).expect("TOML");
        let server = &settings["mcp_servers"]["loomd"];
        assert_eq!(
            server["args"].as_array().map(|args| args.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>()),
            Some(expected.to_vec())
        );
        assert_eq!(server["command"].as_str(), servers["mcpServers"]["loomd"]["command"].as_str());

        assert!(of("acp").expect_err("refused").message.contains("docs/mcp.md"));
    }
}
