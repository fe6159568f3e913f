//! Words between people and the protocol: short ids, durations, sizes, labels, command lines.

use std::time::Duration;

use jiff::SignedDuration;

use crate::model::{Failure, RunId, RunState};

/// Digits of a short id. The last ones, for they are random; the first ones of a UUID version 7 tell the time.
const SHORT: usize = 8;

/// Fewest digits that may stand for a run.
const FEWEST_DIGITS: usize = 4;

pub fn short(id: RunId) -> String {
    let id = id.to_string();
    id[id.len() - SHORT..].to_owned()
}

/// The digits of a piece of an id.
pub fn digits(text: &str) -> Result<String, Failure> {
    let digits: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    if digits.len() < FEWEST_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let message = format!("`{text}` is no run id: give the last {FEWEST_DIGITS} digits or more of one that `loomd list` shows");
        return Err(Failure::invalid_params("runId", message));
    }
    Ok(digits)
}

/// Whether an id begins or ends with these digits.
pub fn fits(id: RunId, digits: &str) -> bool {
    let id = id.to_string().replace('-', "");
    id.starts_with(digits) || id.ends_with(digits)
}

/// The one run that was found for `text`.
pub fn the_only(found: Vec<RunId>, text: &str) -> Result<RunId, Failure> {
    match found[..] {
        [id] => Ok(id),
        [] => Err(Failure::invalid_params("runId", format!("there is no run `{text}`; `loomd list --all` shows those that there are"))),
        _ => {
            let shown: Vec<String> = found.iter().take(4).map(|id| short(*id)).collect();
            let more = if found.len() > shown.len() { ", …" } else { "" };
            let message = format!("`{text}` may be any of {} runs ({}{more}); give the last digits", found.len(), shown.join(", "));
            Err(Failure::invalid_params("runId", message))
        }
    }
}

/// Reads `90s`, `5m`, `1h30m`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    duration.ok_or_else(|| "write it like 90s, 5m or 1h30m".to_owned())
}

/// Reads a number of things.
pub fn parse_count(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "write it as a whole number, like 20".to_owned())
}

/// Reads a number of things that is not 0.
pub fn parse_some(text: &str) -> Result<u64, String> {
    parse_count(text).ok().filter(|count| *count > 0).ok_or_else(|| "write it as a whole number from 1 on, like 20".to_owned())
}

/// Reads `1000`, `64K`, `10MB`, `1GiB`: K, M, G and T are powers of 1024.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let shift = match unit.trim().to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => 64,
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1_u64.checked_shl(shift)?));
    bytes.ok_or_else(|| "write it like 1000000, 64K, 10M or 1G".to_owned())
}

/// Reads `KEY=VALUE`.
pub fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

/// Reads `NAME=VALUE`, or `NAME` alone: the variable is removed.
pub fn parse_variable(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value.to_owned())));
    if name.is_empty() { Err("write it as NAME=VALUE, or NAME to remove the variable".to_owned()) } else { Ok((name.to_owned(), value)) }
}

/// Reads a state, in the protocol's word or in a person's; `live` stands for all that are not final.
pub fn parse_states(text: &str) -> Result<Vec<RunState>, String> {
    use RunState::{AwaitingPermission, Cancelled, Failed, Idle, Lost, Running, Starting, Succeeded, TimedOut};
    let all = [Starting, Running, AwaitingPermission, Idle, Succeeded, Failed, Cancelled, TimedOut, Lost];
    let plain = |word: &str| word.to_ascii_lowercase().replace(['-', '_', ' '], "");
    match plain(text).as_str() {
        "live" => Ok(all.into_iter().filter(|state| !state.is_final()).collect()),
        word => {
            let state = all.into_iter().find(|state| plain(state.as_str()) == word);
            let known = || all.map(RunState::as_str).join(", ");
            state.map(|state| vec![state]).ok_or_else(|| format!("write live, {}", known()))
        }
    }
}

/// `350 ms`, `2.4 s`, `5m 12s`, `3h 07m`, `2d 04h`.
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{}.{} s", seconds, ms % 1000 / 100),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// `0 B`, `900 B`, `1.5 KiB`, `12 MiB`.
pub fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    if unit == "B" || size >= 10.0 { format!("{size:.0} {unit}") } else { format!("{size:.1} {unit}") }
}

pub use crate::provider::terminal::quoted;

/// A command as one line that can be read: no character of it reaches the terminal as an order.
pub fn command_line(command: &[String]) -> String {
    plain(&command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "))
}

/// Text without the characters that a terminal obeys.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if is_order(c) { '␣' } else { c }).collect()
}

/// The same with its lines. A tab stays one.
pub fn plain_lines(text: &str) -> String {
    let kept = text.chars().filter(|c| *c != '\r');
    kept.map(|c| if is_order(c) && !matches!(c, '\n' | '\t') { '␣' } else { c }).collect()
}

/// Whether a terminal obeys it: control characters, and those that turn the direction of what follows, so that a person reads
/// something else than what will be done.
fn is_order(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> RunId {
        text.parse().expect("an id")
    }

    #[test]
    fn a_run_is_found_by_its_beginning_or_end() {
        let one = id("01890a5d-ac96-774b-bcce-b302099a8057");
        let other = id("01890a5d-ac96-774b-bcce-b302099affff");
        let find = |text: &str| {
            let digits = digits(text)?;
            the_only([one, other].into_iter().filter(|id| fits(*id, &digits)).collect(), text)
        };
        assert_eq!(short(one), "099a8057");
        assert_eq!(find("099A8057"), Ok(one));
        assert_eq!(find("b302099affff"), Ok(other));
        assert_eq!(find("bcce-b302099a8057"), Ok(one));
        let several = find("01890a5d").expect_err("two begin so");
        assert!(several.message.contains("099a8057") && several.message.contains("099affff"), "{several}");
        assert!(find("1234").expect_err("none").message.contains("no run `1234`"));
        for bad in ["", "057", "run-one", "latest"] {
            assert!(find(bad).expect_err("no id").message.contains("is no run id"), "{bad}");
        }
    }

    #[test]
    fn durations_are_read_and_told() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        for bad in ["", "5", "-5s", "5 parsecs"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        let told: Vec<String> = [0, 350, 2_450, 312_000, 11_220_000, 187_200_000].into_iter().map(duration).collect();
        assert_eq!(told, ["0 ms", "350 ms", "2.4 s", "5m 12s", "3h 07m", "2d 04h"]);
    }

    #[test]
    fn sizes_are_read_and_told() {
        assert_eq!(parse_bytes("1000"), Ok(1000));
        assert_eq!(parse_bytes("64K"), Ok(65_536));
        assert_eq!(parse_bytes("10MB"), Ok(10 << 20));
        assert_eq!(parse_bytes("1 GiB"), Ok(1 << 30));
        for bad in ["", "K", "-1", "1X", "99999999999999999999", "99999999999G"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
        let told: Vec<String> = [0, 900, 1536, 12 << 20, 1 << 50].into_iter().map(bytes).collect();
        assert_eq!(told, ["0 B", "900 B", "1.5 KiB", "12 MiB", "1024 TiB"]);
    }

    #[test]
    fn states_are_known_by_several_words() {
        assert_eq!(parse_states("timed-out"), Ok(vec![RunState::TimedOut]));
        assert_eq!(parse_states("awaitingPermission"), Ok(vec![RunState::AwaitingPermission]));
        assert_eq!(parse_states("live").map(|states| states.len()), Ok(4));
        assert!(parse_states("gone").is_err_and(|said| said.contains("succeeded")));
    }

    #[test]
    fn a_command_line_can_be_typed_again_and_gives_no_orders() {
        let command = ["sh", "-c", "echo it's", "", "a\x1b[2Jb"].map(str::to_owned);
        assert_eq!(command_line(&command), r"sh -c 'echo it'\''s' '' 'a␣[2Jb'");
    }

    #[test]
    fn variables_and_labels_are_read() {
        assert_eq!(parse_variable("A=b=c"), Ok(("A".to_owned(), Some("b=c".to_owned()))));
        assert_eq!(parse_variable("A"), Ok(("A".to_owned(), None)));
        assert!(parse_variable("=x").is_err() && parse_pair("x").is_err() && parse_pair("=x").is_err());
    }
}
