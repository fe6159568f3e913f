//! Shows what a run that is started from here would get as its environment, and why. Values stay unshown but PATH's.

use super::Finding;
use crate::{
    config::Locations,
    environment::{Environment, Overlay, unattended},
    process::current_process,
};

/// Asks the login shell and the configuration's command as a run would.
pub(crate) fn check(locations: &Locations) -> Vec<Finding> {
    // A configuration that cannot be read has its own finding.
    let Ok(config) = locations.read_config() else { return Vec::new() };
    let environment = Environment::of_process(config.environment);
    let here = current_process::logical_directory().unwrap_or_default();
    let from_command = environment.command_variables(&here.to_string_lossy());
    let path = path(&environment, from_command.as_ref().ok());
    vec![left_out(&environment), login_shell(&environment), command(&environment, &from_command), path, unattended_finding()]
}

fn left_out(environment: &Environment) -> Finding {
    let names: Vec<&str> = environment.left_out().collect();
    Finding::ok(
        "environment",
        match names.is_empty() {
            true => "runs get all variables of loomd's own".to_owned(),
            false => {
                format!("runs do not get {}, which describe who started loomd (`pass` in [environment] passes them on)", names.join(", "))
            }
        },
    )
}

fn login_shell(environment: &Environment) -> Finding {
    let subject = "login shell";
    match (environment.login_shell(), environment.shell_variables()) {
        (Ok(shell), Some(Ok(taken))) => Finding::ok(subject, format!("{shell} sets {}", names(taken.keys()))),
        (Ok(_), Some(Err(error))) => {
            Finding::warning(subject, error.clone(), "mend its startup files, or set shell = \"never\" in [environment]")
        }
        (Ok(shell), None) => Finding::ok(subject, format!("{shell} is not asked")),
        (Err(reason), _) => Finding::ok(subject, format!("not asked: {reason}")),
    }
}

fn command(environment: &Environment, from_command: &Result<Overlay, String>) -> Finding {
    let subject = "env command";
    match (environment.command(), from_command) {
        (None, _) => Finding::ok(subject, "none (`command` in [environment])"),
        (Some(argv), Ok(overlay)) => {
            let (set, removed): (Vec<_>, Vec<_>) = overlay.iter().partition(|(_, value)| value.is_some());
            let removed = match removed.is_empty() {
                true => String::new(),
                false => format!(" and removes {}", names(removed.into_iter().map(|(name, _)| name))),
            };
            Finding::ok(subject, format!("`{}` sets {} here{removed}", argv.join(" "), names(set.into_iter().map(|(name, _)| name))))
        }
        (Some(_), Err(error)) => Finding::warning(subject, error.clone(), "runs start without it"),
    }
}

fn path(environment: &Environment, from_command: Option<&Overlay>) -> Finding {
    let from_command = from_command.and_then(|overlay| overlay.get("PATH").cloned().flatten());
    let from_shell = environment.shell_variables().and_then(|told| told.as_ref().ok()?.get("PATH").cloned());
    let found = from_command.map(|path| (path, "the env command"));
    let found = found.or_else(|| from_shell.map(|path| (path, "the login shell")));
    let found = found.or_else(|| environment.known_path().map(|path| (path, "loomd's own environment")));
    match found {
        Some((path, origin)) => Finding::ok("PATH", format!("{path} (from {origin})")),
        None => Finding::warning("PATH", "not set", "set it where loomd is started"),
    }
}

fn unattended_finding() -> Finding {
    let set: Vec<String> = unattended(true).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let detail = format!("{} where nobody can type, unless the run's or the provider's `env` names them", set.join(" "));
    Finding::ok("pagers", detail)
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
