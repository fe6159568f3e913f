//! How people write and read what the protocol holds: short IDs, states, durations, sizes, labels, command lines.

use std::time::Duration;

use jiff::SignedDuration;

pub(crate) use crate::client::run_name::{is_ambiguous, parse_id_digits, short_id};
use crate::model::RunState;

/// Reads `90s`, `5m`, `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    duration.ok_or_else(|| "expected a duration such as 90s, 5m or 1h30m".to_owned())
}

/// Reads a whole number.
pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "expected a whole number".to_owned())
}

/// Reads a whole number that is not 0.
pub(crate) fn parse_positive_count(text: &str) -> Result<u64, String> {
    parse_count(text).ok().filter(|count| *count > 0).ok_or_else(|| "expected a whole number greater than 0".to_owned())
}

/// Reads `1000`, `64K`, `10MB`, `1GiB`: K, M, G and T are powers of 1024.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
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
    bytes.ok_or_else(|| "expected a size such as 1000000, 64K, 10M or 1G".to_owned())
}

/// Reads `KEY=VALUE`.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// Reads `NAME=VALUE`, or `NAME` alone: the variable is removed.
pub(crate) fn parse_variable(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value.to_owned())));
    if name.is_empty() { Err("expected NAME=VALUE, or NAME to unset a variable".to_owned()) } else { Ok((name.to_owned(), value)) }
}

/// Reads a state, by the protocol's name or by the one that lists show; `live` stands for all that are not final.
pub(crate) fn parse_states(text: &str) -> Result<Vec<RunState>, String> {
    use RunState::{AwaitingPermission, Cancelled, Failed, Idle, Lost, Running, Starting, Succeeded, TimedOut};
    let all = [Starting, Running, AwaitingPermission, Idle, Succeeded, Failed, Cancelled, TimedOut, Lost];
    let normalized = |word: &str| word.to_ascii_lowercase().replace(['-', '_', ' '], "");
    match normalized(text).as_str() {
        "live" => Ok(all.into_iter().filter(|state| !state.is_final()).collect()),
        word => {
            let is_named = |state: &RunState| [state.as_str(), state.shown()].map(normalized).iter().any(|name| name == word);
            let state = all.into_iter().find(is_named);
            state.map(|state| vec![state]).ok_or_else(|| format!("expected live, {}", all.map(RunState::as_str).join(", ")))
        }
    }
}

/// `350 ms`, `2.4 s`, `5m 12s`, `3h 07m`, `2d 04h`.
pub(crate) fn duration(ms: u64) -> String {
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
pub(crate) fn bytes(bytes: u64) -> String {
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

pub(crate) use crate::provider::kind::quoted;

/// A command as one line that a shell would read, without control characters.
pub(crate) fn command_line(command: &[String]) -> String {
    plain(&command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "))
}

/// Text with `␣` for each character that a terminal would obey.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if is_terminal_control(c) { '␣' } else { c }).collect()
}

/// As [`plain`], but line ends and tabs stay.
pub(crate) fn plain_lines(text: &str) -> String {
    let chars = text.chars().filter(|c| *c != '\r');
    chars.map(|c| if is_terminal_control(c) && !matches!(c, '\n' | '\t') { '␣' } else { c }).collect()
}

/// Whether a terminal would obey this character: control characters, and those that turn the direction of the text
/// after them, so that a person would read something else than what an agent does.
pub(crate) fn is_terminal_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed_and_formatted() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        for bad in ["", "5", "-5s", "5 parsecs"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        let durations: Vec<String> = [0, 350, 2_450, 312_000, 11_220_000, 187_200_000].into_iter().map(duration).collect();
        assert_eq!(durations, ["0 ms", "350 ms", "2.4 s", "5m 12s", "3h 07m", "2d 04h"]);
    }

    #[test]
    fn sizes_are_parsed_and_formatted() {
        assert_eq!(parse_bytes("1000"), Ok(1000));
        assert_eq!(parse_bytes("64K"), Ok(65_536));
        assert_eq!(parse_bytes("10MB"), Ok(10 << 20));
        assert_eq!(parse_bytes("1 GiB"), Ok(1 << 30));
        for bad in ["", "K", "-1", "1X", "99999999999999999999", "99999999999G"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
        let sizes: Vec<String> = [0, 900, 1536, 12 << 20, 1 << 50].into_iter().map(bytes).collect();
        assert_eq!(sizes, ["0 B", "900 B", "1.5 KiB", "12 MiB", "1024 TiB"]);
    }

    #[test]
    fn a_state_has_the_name_of_the_protocol_and_of_the_list() {
        assert_eq!(parse_states("timed-out"), Ok(vec![RunState::TimedOut]));
        assert_eq!(parse_states("awaitingPermission"), Ok(vec![RunState::AwaitingPermission]));
        assert_eq!(parse_states("live").map(|states| states.len()), Ok(4));
        assert_eq!(parse_states("needs input"), Ok(vec![RunState::AwaitingPermission]));
        assert_eq!((parse_states("canceled"), parse_states("cancelled")), (Ok(vec![RunState::Cancelled]), Ok(vec![RunState::Cancelled])));
        assert!(parse_states("gone").is_err_and(|message| message.contains("succeeded")));
    }

    #[test]
    fn a_command_line_can_be_typed_again_and_has_no_control_characters() {
        let command = ["sh", "-c", "echo it's", "", "a\x1b[2Jb"].map(str::to_owned);
        assert_eq!(command_line(&command), r"sh -c 'echo it'\''s' '' 'a␣[2Jb'");
    }

    #[test]
    fn variables_and_labels_are_parsed() {
        assert_eq!(parse_variable("A=b=c"), Ok(("A".to_owned(), Some("b=c".to_owned()))));
        assert_eq!(parse_variable("A"), Ok(("A".to_owned(), None)));
        assert!(parse_variable("=x").is_err() && parse_pair("x").is_err() && parse_pair("=x").is_err());
    }
}
