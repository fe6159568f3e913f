//! `loomd providers`: which agents there are, and what to do about those that are not.

use serde_json::json;

use super::{
    Stop,
    agent::start::COMMAND,
    client::Launch,
    render::{self, Ink, Spinner},
    words,
};
use crate::model::{ProviderInfo, calls::ProvidersResult};

/// List the agents that can be asked, and what is missing of the others
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Print each as a line of JSON
    #[arg(long)]
    pub json: bool,
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let session = launch.open_quiet().await?;
    let spinner = Spinner::start("asking each for its version".to_owned());
    let answer = session.call("provider/list", json!({})).await;
    drop(spinner);
    let ProvidersResult { providers } = answer?;
    if options.json {
        providers.iter().try_for_each(render::print_json)?;
    } else {
        render::print(&table(&providers, render::columns(), Ink::of_stdout()))?;
    }
    session.close().await;
    Ok(0)
}

fn table(providers: &[ProviderInfo], columns: Option<usize>, ink: Ink) -> String {
    let rows: Vec<[String; 4]> = providers
        .iter()
        .filter(|info| info.id != COMMAND)
        .map(|info| {
            let available = if info.available { "yes" } else { "no" };
            let version = info.version.as_deref().map_or_else(String::new, words::plain);
            let usage = if info.id == "acp" { "loomd run acp \"PROMPT\" -- AGENT ARGS" } else { "" };
            let todo = info.reason.as_deref().or(info.program.as_deref()).unwrap_or(usage);
            [words::plain(&info.id), available.to_owned(), version, words::plain(todo)]
        })
        .collect();
    render::table(["PROVIDER", "THERE", "VERSION", "PROGRAM, OR WHAT TO DO"], &rows, columns, ink)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told() {
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
        assert_eq!(table(&providers, None, Ink::default()), "codex   yes  1.2  /bin/codex\nclaude  no        Install it.\n");
    }
}
