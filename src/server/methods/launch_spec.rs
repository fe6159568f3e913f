//! Turns the params of `run/start` into the launch spec, which holds everything that a supervisor needs to start the
//! program.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use crate::{
    config::{COMMAND_KIND, NotifyConfig},
    environment::{Overlay, RunNeeds},
    model::{
        Failure, Plain, Run, RunId, Task,
        calls::{McpServer, OnDisconnect, PermissionMode, Resume, StartParams, TtyChoice},
        control::{LaunchSpec, Notifier},
        entry::notice,
        run::normalize_directory,
        task,
    },
    process::{
        ancestry::EnclosingRuns,
        current_process,
        find::{self, FindError},
    },
    provider::{Launch, StdinUse},
    server::{Server, follower::Delivery, merge::MAX_CHUNK_BYTES, providers::KnownProvider},
    supervisor::now,
};

/// The task of an agent, and how its program is started for it. `None`: the program is a command.
fn agent(params: &StartParams, known: &KnownProvider, program: &[String], cwd: &str) -> Result<Option<(Task, Launch)>, Failure> {
    let Some(provider) = known.provider else { return Ok(None) };
    let is_used = known.kind != COMMAND_KIND || params.prompt.is_some() || params.resume.is_some() || known.plain != Plain::default();
    if !is_used {
        return Ok(None);
    }
    let task = Task {
        provider: params.provider.clone(),
        kind: known.kind.to_owned(),
        prompt: params.prompt.as_ref().map(task::blocks),
        cwd: cwd.to_owned(),
        model: params.model.clone(),
        permissions: params.permissions.unwrap_or(PermissionMode::Ask),
        resume: params.resume.as_ref().and_then(|resume| match resume {
            Resume::Session { session_id } => Some(session_id.clone()),
            Resume::Run { .. } => None,
        }),
        session_id: uuid::Uuid::now_v7().to_string(),
        interactive: params.interactive.unwrap_or(false),
        is_root: current_process::user_id() == 0,
        program: program.to_vec(),
        mcp_servers: params.mcp_servers.clone(),
        args: known.args.iter().chain(params.args.iter().flatten()).cloned().collect(),
        plain: known.plain.clone(),
        start_timeout_seconds: known.start_timeout.as_secs(),
    };
    let launch = provider.launch(&task, program)?;
    Ok(Some((task, launch)))
}

/// Whether the provider tells what its output means: of a command line only if its format is known and it works on something.
fn has_updates(task: &Task) -> bool {
    task.kind != COMMAND_KIND || (task.plain.format.is_some() && (task.prompt.is_some() || task.resume.is_some()))
}

/// The launch spec of a run. `delivery`: how the client follows the run from its start. Blocking: the login shell or the
/// configuration's command may be asked for variables.
pub(crate) fn launch_spec(
    server: &Server,
    params: &StartParams,
    id: RunId,
    known: KnownProvider,
    parent: Option<RunId>,
    delivery: Option<Delivery>,
) -> Result<LaunchSpec, Failure> {
    let cwd = match &params.cwd {
        Some(cwd) => normalize_directory(cwd),
        None => current_process::logical_directory()
            .map_err(|error| {
                Failure::invalid_params("cwd", format!("the server's own working directory does not exist ({error}); name another one"))
            })?
            .to_string_lossy()
            .into_owned(),
    };
    let mut explicit: Overlay = known.env.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
    explicit.extend(params.env.clone());
    let environment = &server.environment;
    let from_command = environment.command_variables(&cwd);
    let problems = environment.problems(&from_command);
    let from_command = from_command.unwrap_or_default();
    let mut program = known.argv(params.command.as_ref())?;
    // A command keeps the name that the configuration gives it, whether it gets a prompt or not.
    if known.kind != COMMAND_KIND && Path::new(&cwd).is_dir() {
        let path = explicit.get("PATH").cloned().unwrap_or_else(|| environment.known_path());
        let find = |path: Option<&str>| known.find(&program[0], Path::new(&cwd), path.map(OsStr::new));
        // A project's own PATH replaces no agent that the user has.
        let found = find(path.as_deref()).or_else(|missing| match from_command.get("PATH") {
            Some(Some(path)) if !explicit.contains_key("PATH") => find(Some(path)).map_err(|_| missing),
            _ => Err(missing),
        });
        program[0] = found?.to_string_lossy().into_owned();
    }
    let agent = agent(params, &known, &program, &cwd)?;
    let (task, launch) = agent.unzip();
    let tty = params.tty.map(TtyChoice::size).transpose()?.flatten();
    let interactive = params.interactive.unwrap_or(false);
    let needs = RunNeeds {
        cwd: &cwd,
        has_terminal: tty.is_some(),
        is_unattended: task.is_some() || !(tty.is_some() && interactive),
        adapter: launch.as_ref().map_or(&[], |launch| &launch.env),
        explicit: &explicit,
    };
    let notifier = notifier(&server.config.notify, params.notify)?;
    let missing = notifier.as_ref().and_then(missing_notice);
    let env = environment.overlay(&needs, &from_command);
    let protocol_on_stdin = launch.as_ref().is_some_and(|launch| launch.stdin == StdinUse::Protocol);
    let argv = launch.map_or(program, |launch| launch.argv);
    let mut keep = server.config.keep.clone();
    keep.extend(params.keep.clone().unwrap_or_default());
    let command = argv.into_iter().chain(known.args).chain(params.args.clone().unwrap_or_default()).collect();
    let run = Run {
        title: params.title.clone(),
        has_transcript: task.as_ref().is_some_and(has_updates),
        labels: params.labels.clone(),
        tty,
        notify: notifier.is_some(),
        parent_run_id: parent,
        enclosing_run_ids: EnclosingRuns::own().all(),
        ..Run::new(id, &params.provider, command, &cwd, now())
    };
    Ok(LaunchSpec {
        runs: server.history.runs.to_string_lossy().into_owned(),
        within: run.enclosing_run_ids.clone(),
        run,
        token: params.client_token.as_ref().map(|token| blake3::hash(token.as_bytes()).to_hex().to_string()),
        env,
        umask: current_process::client_umask(),
        stdin: params.stdin.clone(),
        interactive,
        task,
        protocol_on_stdin,
        keep_idle_ms: params.keep_idle_ms,
        timeout_ms: params.timeout_ms,
        idle_timeout_ms: params.idle_timeout_ms,
        max_output_bytes: params.max_output_bytes,
        on_disconnect: params.on_disconnect.unwrap_or(OnDisconnect::Detach),
        keep,
        attached: delivery.is_some(),
        shows_terminal: delivery.is_some_and(|delivery| delivery.shows_terminal(&server.client)),
        can_answer: Some(server.client.permissions),
        notifier,
        notices: problems.iter().map(|(title, description)| notice("warning", title, Some(description))).chain(missing).collect(),
        config: server.config.file.as_ref().map(|file| file.to_string_lossy().into_owned()),
        // The client that starts the run gets entries as they are in the log, so they are no longer than it wants them.
        chunk_bytes: usize::try_from(server.client.output.max_chunk_bytes).unwrap_or(MAX_CHUNK_BYTES).min(MAX_CHUNK_BYTES),
    })
}

/// The longest `stdin` that a run's record keeps.
const MAX_KEPT_STDIN_BYTES: usize = 1 << 20;

/// The params as a rerun needs them: without the token, and with names in place of the environment's values and of MCP servers,
/// which hold values, too. A long `stdin` is not kept; `stdinBytes` tells its length then.
pub(crate) fn rerun_params(params: &StartParams) -> Map<String, Value> {
    let names: Vec<&String> = params.env.keys().collect();
    let servers: Vec<&str> = params.mcp_servers.iter().map(McpServer::name).collect();
    let long_stdin = params.stdin.as_ref().map(String::len).filter(|bytes| *bytes > MAX_KEPT_STDIN_BYTES);
    let stdin = params.stdin.clone().filter(|_| long_stdin.is_none());
    let without = StartParams { env: Overlay::new(), mcp_servers: Vec::new(), client_token: None, stdin, ..params.clone() };
    let Value::Object(mut recorded) = json!(without) else { return Map::new() };
    if !names.is_empty() {
        recorded.insert("envNames".to_owned(), json!(names));
    }
    if !servers.is_empty() {
        recorded.insert("mcpServerNames".to_owned(), json!(servers));
    }
    if let Some(bytes) = long_stdin {
        recorded.insert("stdinBytes".to_owned(), json!(bytes));
    }
    recorded
}

/// The notifier of most free desktops.
const DESKTOP_NOTIFIER: &str = "notify-send";

/// How long a notifier may take, unless the configuration says otherwise.
const DEFAULT_TIMEOUT_MS: u64 = 10_000;

/// Every notifier is started in `/`, for the run's own directory may be anybody's.
fn find_notifier(name: &str) -> Result<PathBuf, FindError> {
    find::program(name, Path::new("/"), std::env::var_os("PATH").as_deref())
}

/// The notifier of a run. `wanted`: whether whoever starts the run wants one.
fn notifier(config: &NotifyConfig, wanted: Option<bool>) -> Result<Option<Notifier>, Failure> {
    let timeout_ms = config.timeout_seconds.map_or(DEFAULT_TIMEOUT_MS, |seconds| u64::from(seconds.get()) * 1000);
    match (&config.command, wanted) {
        (_, Some(false)) | (None, None) => Ok(None),
        (Some(command), _) => Ok(Some(Notifier { command: command.clone(), takes_text: false, timeout_ms })),
        (None, Some(true)) if find_notifier(DESKTOP_NOTIFIER).is_ok() => {
            let command = [DESKTOP_NOTIFIER, "--app-name=loomd"].map(str::to_owned).to_vec();
            Ok(Some(Notifier { command, takes_text: true, timeout_ms }))
        }
        (None, Some(true)) => {
            let message =
                format!("there is no `{DESKTOP_NOTIFIER}` in PATH; install it, or set `command` under [notify] in the configuration");
            Err(Failure::unsupported("notify", message))
        }
    }
}

/// A notice that the notifier is not there.
fn missing_notice(notifier: &Notifier) -> Option<Map<String, Value>> {
    let missing = find_notifier(&notifier.command[0]).err()?;
    Some(notice("warning", &format!("the notifier of the configuration cannot be started: {missing}"), Some(&missing.hint())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::calls::{McpTransport, McpValue};

    #[test]
    fn values_of_the_environment_are_not_recorded() {
        let env = BTreeMap::from([("KEY".to_owned(), Some("secret-value".to_owned())), ("GONE".to_owned(), None)]);
        let value = |name: &str| McpValue { name: name.to_owned(), value: "secret-value".to_owned() };
        let program =
            McpServer::Program { name: "one".to_owned(), command: "tool".to_owned(), args: Vec::new(), env: vec![value("TOKEN")] };
        let remote = McpServer::Remote {
            transport: McpTransport::Http,
            name: "two".to_owned(),
            url: "http://127.0.0.1/secret-path".to_owned(),
            headers: vec![value("Authorization")],
        };
        let params = StartParams {
            provider: "command".to_owned(),
            env,
            mcp_servers: vec![program, remote],
            client_token: Some("secret-token".to_owned()),
            ..StartParams::default()
        };
        let recorded = Value::Object(rerun_params(&params)).to_string();
        assert!(!recorded.contains("secret"), "{recorded}");
        assert!(recorded.contains(r#""envNames":["GONE","KEY"],"mcpServerNames":["one","two"]"#), "{recorded}");
    }

    #[test]
    fn a_long_stdin_is_not_recorded() {
        let recorded = |bytes: usize| rerun_params(&StartParams { stdin: Some("x".repeat(bytes)), ..StartParams::default() });
        assert_eq!(recorded(MAX_KEPT_STDIN_BYTES)["stdin"].as_str().map(str::len), Some(MAX_KEPT_STDIN_BYTES));
        let long = recorded(MAX_KEPT_STDIN_BYTES + 1);
        assert_eq!((long.get("stdin"), &long["stdinBytes"]), (None, &json!(MAX_KEPT_STDIN_BYTES + 1)));
    }
}
