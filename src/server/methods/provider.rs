//! `provider/list`, `provider/options`, `session/list`.

use serde_json::Value;

use super::{Request, list::of_sessions, on_a_thread};
use crate::{
    model::{
        Failure,
        calls::{Empty, OptionsParams, OptionsResult, ProvidersResult, SessionsParams, SessionsResult},
        directory,
    },
    provider::Question,
    server::{inquire, providers, sessions},
};

pub async fn list(_: Empty, request: Request) -> Result<ProvidersResult, Failure> {
    let server = request.server.clone();
    let providers = on_a_thread(&request.server, move |_| Ok(providers::all_with_versions(&server.config))).await?;
    Ok(ProvidersResult { providers })
}

pub async fn options(params: OptionsParams, request: Request) -> Result<OptionsResult, Failure> {
    let server = request.server.clone();
    on_a_thread(&request.server, move |_| {
        let cwd = place(params.cwd)?;
        let known = providers::known(&server.config, &params.provider)?;
        parsed(inquire::inquire(&known, &Question::Options { cwd: cwd.clone() }, &cwd)?)
    })
    .await
}

pub async fn sessions(params: SessionsParams, request: Request) -> Result<SessionsResult, Failure> {
    let server = request.server.clone();
    on_a_thread(&request.server, move |history| {
        let cwd = params.cwd.as_deref().map(directory::spelled);
        let place = place(params.cwd)?;
        let known = providers::known(&server.config, &params.provider)?;
        let question = Question::Sessions { cwd, cursor: params.cursor };
        let mut result: SessionsResult = match known.provider.and_then(|provider| provider.session_files()) {
            Some(files) => sessions::list(files, &known, &question)?,
            None => parsed(inquire::inquire(&known, &question, &place)?)?,
        };
        let ids: Vec<String> = result.sessions.iter().map(|session| session.id.clone()).collect();
        let runs = of_sessions(history, &ids.iter().map(String::as_str).collect::<Vec<_>>())?;
        for session in &mut result.sessions {
            session.run_id = runs.get(&session.id).map(|run| run.id);
        }
        Ok(result)
    })
    .await
}

fn place(cwd: Option<String>) -> Result<String, Failure> {
    match cwd {
        Some(cwd) if !cwd.starts_with('/') => Err(Failure::invalid_params("cwd", format!("`cwd` must be absolute; {cwd:?} is not"))),
        Some(cwd) => Ok(directory::spelled(&cwd)),
        None => Ok(std::env::current_dir().map_or_else(|_| "/".to_owned(), |dir| dir.to_string_lossy().into_owned())),
    }
}

fn parsed<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, Failure> {
    serde_json::from_value(answer).map_err(|error| Failure::internal(format!("the provider's answer makes no sense: {error}")))
}
