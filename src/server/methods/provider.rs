//! What belongs to no run: `provider/list`, `provider/options`, `session/list`, `rule/list`, `rule/add`, `rule/remove`.

use serde_json::Value;

use super::{Request, list::newest_runs_of_sessions, on_blocking_thread};
use crate::{
    model::{
        Failure,
        calls::{
            AddRuleParams, Empty, OptionsParams, OptionsResult, ProvidersResult, RemoveRuleParams, RuleResult, RulesResult, SessionsParams,
            SessionsResult,
        },
        run::normalize_directory,
    },
    process::current_process,
    provider::ProbeQuery,
    rules::RulesFile,
    server::{probe, providers, sessions},
};

pub(crate) async fn list(_: Empty, request: Request) -> Result<ProvidersResult, Failure> {
    let server = request.server.clone();
    let providers = on_blocking_thread(&request.server, move |_| Ok(probe::all_with_versions(&server.config, &server.environment))).await?;
    Ok(ProvidersResult { providers })
}

pub(crate) async fn options(params: OptionsParams, request: Request) -> Result<OptionsResult, Failure> {
    let server = request.server.clone();
    on_blocking_thread(&request.server, move |_| {
        let cwd = absolute_cwd(params.cwd)?;
        let known = providers::known(&server.config, &params.provider)?;
        parse_answer(probe::probe(&known, &ProbeQuery::Options { cwd: cwd.clone() }, &cwd, &server.environment)?)
    })
    .await
}

pub(crate) async fn sessions(params: SessionsParams, request: Request) -> Result<SessionsResult, Failure> {
    let server = request.server.clone();
    on_blocking_thread(&request.server, move |history| {
        let cwd = params.cwd.as_deref().map(normalize_directory);
        let directory = absolute_cwd(params.cwd)?;
        let known = providers::known(&server.config, &params.provider)?;
        let query = ProbeQuery::Sessions { cwd, cursor: params.cursor };
        let mut result: SessionsResult = match known.provider.and_then(|provider| provider.session_files()) {
            Some(files) => sessions::list(files, &known, &query)?,
            None => parse_answer(probe::probe(&known, &query, &directory, &server.environment)?)?,
        };
        let ids: Vec<String> = result.sessions.iter().map(|session| session.id.clone()).collect();
        let runs = newest_runs_of_sessions(history, &ids.iter().map(String::as_str).collect::<Vec<_>>())?;
        for session in &mut result.sessions {
            session.run_id = runs.get(&session.id).map(|run| run.id);
        }
        Ok(result)
    })
    .await
}

fn absolute_cwd(cwd: Option<String>) -> Result<String, Failure> {
    match cwd {
        Some(cwd) if !cwd.starts_with('/') => Err(Failure::invalid_params("cwd", format!("`cwd` must be absolute; {cwd:?} is not"))),
        Some(cwd) => Ok(normalize_directory(&cwd)),
        None => Ok(current_process::logical_directory().map_or_else(|_| "/".to_owned(), |dir| dir.to_string_lossy().into_owned())),
    }
}

fn parse_answer<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, Failure> {
    serde_json::from_value(answer).map_err(|error| Failure::internal(format!("the provider's answer is invalid: {error}")))
}

pub(crate) async fn list_rules(_: Empty, request: Request) -> Result<RulesResult, Failure> {
    on_blocking_thread(&request.server, |_| Ok(RulesResult { rules: RulesFile::of_user()?.read()? })).await
}

pub(crate) async fn add_rule(params: AddRuleParams, request: Request) -> Result<RuleResult, Failure> {
    on_blocking_thread(&request.server, |_| Ok(RuleResult { rule: RulesFile::of_user()?.add(params.rule)? })).await
}

pub(crate) async fn remove_rule(params: RemoveRuleParams, request: Request) -> Result<Empty, Failure> {
    on_blocking_thread(&request.server, move |_| {
        RulesFile::of_user()?.remove(&params.rule_id)?;
        Ok(Empty {})
    })
    .await
}
