//! `loomd providers`: the agents, and how to install those that are missing.

use super::{
    EarlyExit,
    agent::start::COMMAND,
    format,
    render::{self, Spinner, Styles},
};
use crate::{
    client::ServerLaunch,
    model::{
        ProviderInfo,
        calls::{Empty, ProvidersResult},
        methods::ProviderList,
    },
};

/// List agents, the installed ones first, their versions, and how to install missing ones
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Print each provider as a JSON line
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let session = launch.open_without_notifications().await?;
    let spinner = Spinner::start("Checking versions".to_owned());
    let reply = session.call(ProviderList, Empty {}).await;
    drop(spinner);
    let ProvidersResult { mut providers } = reply?;
    providers.sort_by_key(|info| !info.available);
    if options.json {
        providers.iter().try_for_each(render::print_json)?;
    } else {
        render::print(&table(&providers, render::columns(), Styles::of_stdout()))?;
    }
    session.close().await;
    Ok(0)
}

fn table(providers: &[ProviderInfo], columns: Option<usize>, styles: Styles) -> String {
    let rows: Vec<[String; 4]> = providers
        .iter()
        .filter(|info| info.id != COMMAND)
        .map(|info| {
            let available = if info.available { "yes" } else { "no" };
            let version = info.version.as_deref().map_or_else(String::new, format::plain);
            let usage = if info.id == "acp" { "loomd run acp \"PROMPT\" -- AGENT ARGS" } else { "" };
            let detail = info.reason.as_deref().or(info.program.as_deref()).unwrap_or(usage);
            [format::plain(&info.id), available.to_owned(), version, format::plain(detail)]
        })
        .collect();
    render::table(["PROVIDER", "AVAILABLE", "VERSION", "PROGRAM"], &rows, columns, styles)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_row_of_a_missing_agent_tells_how_to_install_it() {
        let capabilities = json!({ "resume": true, "send": true, "steer": true, "interrupt": true, "permissions": true, "updates": true });
        let provider = |more: serde_json::Value| -> ProviderInfo {
            let mut info = json!({ "title": "T", "kind": "k", "capabilities": capabilities });
            more.as_object().expect("an object").iter().for_each(|(name, value)| info[name] = value.clone());
            serde_json::from_value(info).expect("a provider")
        };
        let providers = [
            provider(json!({ "id": "command", "available": true })),
            provider(json!({ "id": "codex", "available": true, "version": "1.2", "program": "/bin/codex" })),
            provider(json!({ "id": "claude", "available": false, "reason": "Install it." })),
        ];
        assert_eq!(table(&providers, None, Styles::default()), "codex   yes  1.2  /bin/codex\nclaude  no        Install it.\n");
    }
}
