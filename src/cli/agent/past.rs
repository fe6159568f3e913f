//! `loomd run AGENT --past`: `loomd mcp` is offered to the agent, by arguments of its own.

use serde_json::json;

use crate::{
    client::ServerLaunch,
    model::{Failure, ProviderInfo},
};

/// The name of the MCP server, which is a part of its tools' names.
const SERVER_NAME: &str = "loomd";

/// The arguments that make the agent start `loomd mcp`. Its tools only read, so that it need not ask before it calls them.
pub(crate) fn arguments(provider: &ProviderInfo, launch: &ServerLaunch) -> Result<Vec<String>, Failure> {
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

    fn provider(kind: &str) -> ProviderInfo {
        let capabilities = json!({ "resume": true, "send": true, "steer": true, "interrupt": true, "permissions": true, "updates": true });
        serde_json::from_value(json!({ "id": "mine", "title": "T", "kind": kind, "available": true, "capabilities": capabilities }))
            .expect("a provider")
    }

    fn of(kind: &str) -> Result<Vec<String>, Failure> {
        let locations = Locations { data_dir: Some("/my runs".into()), config: Some("/c.toml".into()) };
        arguments(&provider(kind), &ServerLaunch { locations, ..ServerLaunch::default() })
    }

    #[test]
    fn claude_gets_json_and_codex_toml() {
        let claude = of("claude").expect("arguments");
        let servers: serde_json::Value = serde_json::from_str(claude[0].strip_prefix("--mcp-config=").expect("the option")).expect("JSON");
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
