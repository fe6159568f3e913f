//! How people name a run: by its whole ID or some digits of it, on another host with the host's name before it.

use super::host::HostName;
use crate::model::{Failure, RunId};

/// Digits of a short ID. They are the last ones, which are random; the first ones of a UUID version 7 are its time.
const SHORT_ID_DIGITS: usize = 8;

/// Fewest digits that name a run.
const MIN_ID_DIGITS: usize = 4;

/// The last digits of an ID, as lists show them.
pub(crate) fn short_id(id: RunId) -> String {
    let id = id.to_string();
    id[id.len() - SHORT_ID_DIGITS..].to_owned()
}

/// The name of a run that is on this host: `ID` here, `NAME/ID` elsewhere.
pub(crate) fn on_host(host: Option<&HostName>, id: impl std::fmt::Display) -> String {
    host.map_or_else(|| id.to_string(), |host| format!("{host}/{id}"))
}

/// A name of a run as its host and the rest: `NAME/ID` has a host, `ID` none.
pub(crate) fn split_host(text: &str) -> Result<(Option<HostName>, &str), Failure> {
    match text.rsplit_once('/') {
        None => Ok((None, text)),
        Some((host, id)) => match host.parse() {
            Ok(host) => Ok((Some(host), id)),
            Err(reason) => Err(Failure::invalid_params("runId", format!("invalid run ID `{text}`: {reason}"))),
        },
    }
}

/// The digits of a part of an ID.
pub(crate) fn parse_id_digits(text: &str) -> Result<String, Failure> {
    let digits: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    if digits.len() < MIN_ID_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let message = format!("invalid run ID `{text}`: use the last {MIN_ID_DIGITS} or more digits of an ID that `loomd list` shows");
        return Err(Failure::invalid_params("runId", message));
    }
    Ok(digits)
}

/// Whether an ID begins or ends with these digits.
pub(super) fn matches_id(id: RunId, digits: &str) -> bool {
    let id = id.to_string().replace('-', "");
    id.starts_with(digits) || id.ends_with(digits)
}

/// The one run among `matches`, which `text` names.
pub(super) fn only_match(matches: Vec<RunId>, text: &str, host: Option<&HostName>) -> Result<RunId, Failure> {
    match matches[..] {
        [id] => Ok(id),
        [] => {
            let (text, list) = (on_host(host, text), host.map_or_else(String::new, |host| format!("--host {host} ")));
            Err(Failure::invalid_params("runId", format!("no such run: {text} (`loomd {list}list --all` shows all runs)")))
        }
        _ => {
            let shown: Vec<String> = matches.iter().take(4).map(|id| on_host(host, short_id(*id))).collect();
            let more = if matches.len() > shown.len() { ", …" } else { "" };
            let message = format!("ambiguous run ID `{text}`: it matches {} runs ({}{more})", matches.len(), shown.join(", "));
            Err(Failure::invalid_params("runId", message).with(AMBIGUOUS, matches.len()))
        }
    }
}

/// The member of a [`Failure`]'s data that tells how many runs an ID matches.
const AMBIGUOUS: &str = "matches";

/// Whether the failure is that of [`only_match`] for several runs.
pub(crate) fn is_ambiguous(failure: &Failure) -> bool {
    failure.data.contains_key(AMBIGUOUS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> RunId {
        text.parse().expect("an id")
    }

    #[test]
    fn a_run_is_found_by_the_beginning_or_the_end_of_its_id() {
        let one = id("01890a5d-ac96-774b-bcce-b302099a8057");
        let other = id("01890a5d-ac96-774b-bcce-b302099affff");
        let find = |text: &str| {
            let digits = parse_id_digits(text)?;
            only_match([one, other].into_iter().filter(|id| matches_id(*id, &digits)).collect(), text, None)
        };
        assert_eq!(short_id(one), "099a8057");
        assert_eq!(find("099A8057"), Ok(one));
        assert_eq!(find("b302099affff"), Ok(other));
        assert_eq!(find("bcce-b302099a8057"), Ok(one));
        let several = find("01890a5d").expect_err("two begin so");
        assert!(is_ambiguous(&several) && several.message.contains("099a8057") && several.message.contains("099affff"), "{several}");
        assert!(find("1234").expect_err("none").message.contains("no such run: 1234"));
        for bad in ["", "057", "run-one", "latest"] {
            assert!(find(bad).expect_err("no id").message.contains("invalid run ID"), "{bad}");
        }
    }

    #[test]
    fn the_name_of_a_run_elsewhere_has_its_host() {
        let host: HostName = "me@build-1.example".parse().expect("a name");
        assert_eq!(on_host(Some(&host), "099a8057"), "me@build-1.example/099a8057");
        assert_eq!(split_host("me@build-1.example/099a8057"), Ok((Some(host.clone()), "099a8057")));
        assert_eq!(split_host("099a8057"), Ok((None, "099a8057")));
        for bad in ["/099a8057", "-oProxyCommand=x/099a8057", "a b/099a8057", "a/b/099a8057"] {
            assert!(split_host(bad).expect_err("no host").message.contains("invalid"), "{bad}");
        }
        let missing = only_match(Vec::new(), "1234", Some(&host)).expect_err("none");
        assert_eq!(missing.message, "no such run: me@build-1.example/1234 (`loomd --host me@build-1.example list --all` shows all runs)");
    }
}
