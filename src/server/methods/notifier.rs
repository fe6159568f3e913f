//! Which program tells a person of a run, by the configuration and by what its starter wants.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::{
    config::NotifyConfig,
    model::{Failure, control::Notifier, entry::notice},
    process::find::{self, FindError},
};

/// The notifier of most free desktops.
const DESKTOP_NOTIFIER: &str = "notify-send";

/// How long a notifier may take, unless the configuration says otherwise.
const DEFAULT_TIMEOUT_MS: u64 = 10_000;

/// Every notifier is started in `/`, for the run's own directory may be anybody's.
fn find(name: &str) -> Result<PathBuf, FindError> {
    find::program(name, Path::new("/"), std::env::var_os("PATH").as_deref())
}

/// The notifier of a run. `wanted`: whether whoever starts the run wants one.
pub(super) fn notifier(config: &NotifyConfig, wanted: Option<bool>) -> Result<Option<Notifier>, Failure> {
    let timeout_ms = config.timeout_seconds.map_or(DEFAULT_TIMEOUT_MS, |seconds| u64::from(seconds.get()) * 1000);
    match (&config.command, wanted) {
        (_, Some(false)) | (None, None) => Ok(None),
        (Some(command), _) => Ok(Some(Notifier { command: command.clone(), takes_text: false, timeout_ms })),
        (None, Some(true)) if find(DESKTOP_NOTIFIER).is_ok() => {
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
pub(super) fn missing_notice(notifier: &Notifier) -> Option<Map<String, Value>> {
    let missing = find(&notifier.command[0]).err()?;
    Some(notice("warning", &format!("the notifier of the configuration cannot be started: {missing}"), Some(&missing.hint())))
}
