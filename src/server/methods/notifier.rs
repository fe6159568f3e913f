//! Which program tells a person of a run, by the configuration and by what its starter wants.

use std::path::Path;

use serde_json::{Map, Value};

use crate::{
    config::NotifyConfig,
    model::{Failure, control::Notifier, entry::notice},
    process::find,
};

/// The notifier of most free desktops.
const DESKTOP_NOTIFIER: &str = "notify-send";

/// How long a notifier may take, unless the configuration says otherwise.
const DEFAULT_TIMEOUT_MS: u64 = 10_000;

/// The notifier of a run, and a notice if it is not there. `wanted`: whether whoever starts the run wants one.
pub(super) fn notifier(config: &NotifyConfig, wanted: Option<bool>) -> Result<(Option<Notifier>, Option<Map<String, Value>>), Failure> {
    let timeout_ms = config.timeout_seconds.map_or(DEFAULT_TIMEOUT_MS, |seconds| u64::from(seconds.get()) * 1000);
    let path = std::env::var_os("PATH");
    // Every notifier is started in `/`, for the run's own directory may be anybody's.
    let find = |name: &str| find::program(name, Path::new("/"), path.as_deref());
    match (&config.command, wanted) {
        (_, Some(false)) | (None, None) => Ok((None, None)),
        (Some(command), _) => {
            let missing = find(&command[0]).err().map(|missing| {
                let title = format!("the notifier of the configuration cannot be started: {missing}");
                notice("warning", &title, Some(&missing.hint()))
            });
            Ok((Some(Notifier { command: command.clone(), takes_text: false, timeout_ms }), missing))
        }
        (None, Some(true)) if find(DESKTOP_NOTIFIER).is_ok() => {
            let command = [DESKTOP_NOTIFIER, "--app-name=loomd"].map(str::to_owned).to_vec();
            Ok((Some(Notifier { command, takes_text: true, timeout_ms }), None))
        }
        (None, Some(true)) => {
            let message =
                format!("there is no `{DESKTOP_NOTIFIER}` in PATH; install it, or set `command` under [notify] in the configuration");
            Err(Failure::unsupported("notify", message))
        }
    }
}
