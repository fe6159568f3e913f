//! Facts about a run in words: when, how long, how it ended, what it cost.

use jiff::Timestamp;

use crate::{
    model::{Run, RunState, UnixMs, Usage},
    provider::kind::quoted,
};

/// `2026-11-22 19:54:50 UTC`.
pub(crate) fn date(at: UnixMs) -> String {
    timestamp(at).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `2026-11-22T19:54:50.123Z`.
pub(crate) fn iso(at: UnixMs) -> String {
    timestamp(at).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn timestamp(at: UnixMs) -> Timestamp {
    Timestamp::from_millisecond(at.cast_signed()).unwrap_or_default()
}

/// `350 ms`, `2.4 s`, `5m 12s`, `3h 07m`.
pub(crate) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds}.{} s", ms % 1000 / 100),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `900 B`, `1.5 KiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    if size >= 10.0 { format!("{size:.0} {}", units[unit]) } else { format!("{size:.1} {}", units[unit]) }
}

/// `1234567` as `1,234,567`.
pub(crate) fn number(n: u64) -> String {
    indicatif::HumanCount(n).to_string()
}

/// The sentence in the middle of a text that is not shown whole.
pub(crate) fn missing(bytes_missing: u64) -> String {
    format!("… {} not shown …", bytes(bytes_missing))
}

pub(crate) fn usage(usage: &Usage) -> Option<String> {
    let tokens = |count: Option<u64>, what: &str| count.map(|count| format!("{} {what}", number(count)));
    let parts = [
        tokens(usage.input_tokens, "tokens in"),
        tokens(usage.cached_input_tokens, "from the cache"),
        tokens(usage.output_tokens, "out"),
        usage.cost_usd.map(|cost| format!("${cost:.4}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// How a run stands, with its reason.
pub(crate) fn outcome(run: &Run) -> String {
    let why = match (&run.signal, run.exit_code) {
        (Some(signal), _) => format!(" by {signal}"),
        // An error's message names the exit code already.
        (None, Some(code)) if code != 0 && run.error.is_none() => format!(" with exit code {code}"),
        _ => String::new(),
    };
    let state = state(run.state);
    let error = run.error.as_ref().map(|error| format!(": {}", error.message)).unwrap_or_default();
    format!("{state}{why}{error}")
}

pub(crate) fn state(state: RunState) -> &'static str {
    match state {
        RunState::Starting => "starting",
        RunState::Running => "still running",
        RunState::AwaitingPermission => "waiting for approval",
        RunState::Idle => "idle between turns",
        RunState::Succeeded => "succeeded",
        RunState::Failed => "failed",
        RunState::Cancelled => "cancelled",
        RunState::TimedOut => "timed out",
        RunState::Lost => "lost: its supervisor died",
    }
}

/// When the run began; when it was created, if it never began.
pub(crate) fn began(run: &Run) -> UnixMs {
    run.started_at.unwrap_or(run.created_at)
}

/// The argv as a line that a shell takes.
pub(crate) fn command_line(command: &[String]) -> String {
    plain(&command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "))
}

/// A line that says what the run is.
pub(crate) fn title(run: &Run) -> String {
    let first_line_of_prompt = || {
        let prompt = run.params.get("prompt")?;
        let text = match prompt.as_str() {
            Some(text) => text,
            None => prompt.as_array()?.iter().find_map(|block| block["text"].as_str())?,
        };
        text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    };
    let whole = run.title.clone().filter(|title| !title.trim().is_empty()).or_else(first_line_of_prompt);
    let whole = plain(&whole.unwrap_or_else(|| command_line(&run.command)));
    match whole.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}

/// Text as one line, without the characters that a terminal obeys.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if is_unsafe_char(c) { '␣' } else { c }).collect()
}

/// The same with its lines and tabs.
pub(crate) fn plain_lines(text: &str) -> String {
    let kept = text.chars().filter(|c| *c != '\r');
    kept.map(|c| if is_unsafe_char(c) && !matches!(c, '\n' | '\t') { '␣' } else { c }).collect()
}

/// Whether a character is a control character or changes the direction of the text that follows, so that a person would read something
/// else than what is there.
pub(crate) fn is_unsafe_char(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character whose UTF-8 begins with this byte may be one for which [`is_unsafe_char`] holds.
pub(crate) fn may_be_unsafe_char(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, 0x7f | 0xc2 | 0xe2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_shows_that_a_character_may_be_unsafe() {
        for c in ('\0'..=char::MAX).filter(|c| is_unsafe_char(*c)) {
            assert!(may_be_unsafe_char(c.encode_utf8(&mut [0; 4]).as_bytes()[0]), "{c:?}");
        }
    }

    #[test]
    fn times_sizes_and_numbers() {
        assert_eq!(date(1_700_000_000_123), "2023-11-14 22:13:20 UTC");
        assert_eq!(iso(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!([350, 2_450, 312_000, 11_220_000].map(duration), ["350 ms", "2.4 s", "5m 12s", "3h 07m"]);
        assert_eq!([900, 1536, 12 << 20, 1 << 50].map(bytes), ["900 B", "1.5 KiB", "12 MiB", "1024 TiB"]);
        assert_eq!([7, 1234, 123_456, 1_234_567].map(number), ["7", "1,234", "123,456", "1,234,567"]);
    }
}
