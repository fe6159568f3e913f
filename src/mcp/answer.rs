//! The text of answers: bounded, and without what only a terminal understands.

use crate::model::{Failure, Run, RunState, UnixMs, run::normalize_directory};

/// The longest text of an answer.
pub(super) const MAX_ANSWER_BYTES: usize = 8 << 10;
/// Room for the line that says how to go on.
const FOOTER_BYTES: usize = 400;
/// Most lines in an answer that lists something.
pub(super) const MAX_LISTED: u64 = 50;
/// How many are listed unless the client says otherwise.
const DEFAULT_LISTED: u64 = 20;

/// An answer that is being written, line by line.
#[derive(Debug)]
pub(super) struct AnswerText {
    text: String,
    max_bytes: usize,
}

impl AnswerText {
    pub(super) fn new() -> Self {
        Self { text: String::new(), max_bytes: MAX_ANSWER_BYTES - FOOTER_BYTES }
    }

    /// Bytes that are left.
    pub(super) fn room(&self) -> usize {
        self.max_bytes.saturating_sub(self.text.len())
    }

    /// Adds a line if there is room for it. The first one is added in any case, shortened.
    pub(super) fn line(&mut self, line: &str) -> bool {
        let line = if self.text.is_empty() { clipped(line, self.room().saturating_sub(1)) } else { line };
        let fits = line.len() < self.room();
        if fits {
            self.text.push_str(line);
            self.text.push('\n');
        }
        fits
    }

    /// The answer, with a last line that says how to go on.
    pub(super) fn ending_with(self, last: &str) -> String {
        let last = clipped(last, MAX_ANSWER_BYTES - self.text.len());
        format!("{}{last}", self.text)
    }
}

/// How many lines an answer has that lists something.
pub(super) fn listed(limit: Option<u64>) -> usize {
    usize::try_from(limit.unwrap_or(DEFAULT_LISTED).clamp(1, MAX_LISTED)).unwrap_or(1)
}

/// The beginning of a text, at most so many bytes of whole characters.
pub(super) fn clipped(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

/// The beginning of a text, and whether anything is missing.
pub(super) fn shortened(text: &str, max_bytes: usize) -> String {
    match clipped(text, max_bytes) {
        whole if whole.len() == text.len() => text.to_owned(),
        beginning => format!("{beginning}… ({} more bytes)", text.len() - beginning.len()),
    }
}

/// The first line with something in it, shortened.
pub(super) fn first_line(text: &str, max_bytes: usize) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let beginning = clipped(line, max_bytes);
    if beginning.len() < text.trim().len() { format!("{beginning}…") } else { beginning.to_owned() }
}

/// A text without escape sequences and control characters; line ends and tabs stay.
pub(super) fn plain(text: &str) -> String {
    let text = anstream::adapter::strip_str(text).to_string();
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// A part of a text from byte `offset` on, and the offset of the next part.
pub(super) fn part(text: &str, offset: u64, max_bytes: usize) -> (&str, Option<usize>) {
    let begin = text.floor_char_boundary(usize::try_from(offset).unwrap_or(usize::MAX));
    // A character that is longer than the room would make no progress, but the room is never so small.
    let part = clipped(&text[begin..], max_bytes);
    let end = begin + part.len();
    (part, Some(end).filter(|end| *end < text.len()))
}

/// A run as a line of a list.
pub(super) fn run_line(run: &Run) -> String {
    let title = first_line(&plain(&run.display_title), 160);
    format!("{}  {}  {}  {}  {}  {title}", run.id, run.provider, state_text(run), time(run.created_at), plain(&run.cwd))
}

/// How a run stands.
pub(super) fn state_text(run: &Run) -> String {
    let state = match run.state {
        // Whoever reads it is a model, which cannot give that answer.
        RunState::AwaitingPermission => "waiting for an answer from a person",
        state => state.shown(),
    };
    match (run.exit_code, &run.signal) {
        (Some(code @ 1..), _) => format!("{state} (exit code {code})"),
        (_, Some(signal)) => format!("{state} ({signal})"),
        _ => state.to_owned(),
    }
}

/// A time as people and models read it, in UTC.
pub(super) fn time(at: UnixMs) -> String {
    let time = i64::try_from(at).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    time.map_or_else(String::new, |time| time.strftime("%Y-%m-%d %H:%MZ").to_string())
}

/// Reads a time: a date, or a date and a time, in UTC unless it says otherwise.
pub(super) fn parse_time(text: &str) -> Result<UnixMs, Failure> {
    let timestamp = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let date = text.parse::<jiff::civil::DateTime>().or_else(|_| text.parse::<jiff::civil::Date>().map(Into::into)).ok()?;
        date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    });
    let ms = timestamp.and_then(|time| u64::try_from(time.as_millisecond()).ok());
    ms.ok_or_else(|| Failure::invalid_params("since", "`since` must be a date such as 2026-11-30, or a time such as 2026-11-30T12:00:00Z"))
}

/// An absolute path of the client's, without `.` and double slashes.
pub(super) fn absolute_directory(path: &str) -> Result<String, Failure> {
    match path.starts_with('/') {
        true => Ok(normalize_directory(path)),
        false => Err(Failure::invalid_params("cwd", "`cwd` must be an absolute path")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_bounded_whatever_is_written() {
        let mut answer = AnswerText::new();
        assert!(answer.line(&"é".repeat(MAX_ANSWER_BYTES)), "a first line is never left out");
        assert!(!answer.line("more"));
        let text = answer.ending_with(&"x".repeat(MAX_ANSWER_BYTES));
        assert!(text.len() <= MAX_ANSWER_BYTES, "{}", text.len());
    }

    #[test]
    fn parts_join_to_the_whole() {
        let text = "aé€😀".repeat(50);
        let (mut joined, mut offset) = (String::new(), Some(0));
        while let Some(begin) = offset {
            let (part, next) = part(&text, begin as u64, 7);
            assert!(!part.is_empty());
            joined.push_str(part);
            offset = next;
        }
        assert_eq!(joined, text);
        assert_eq!(part("abc", 100, 7), ("", None));
    }

    #[test]
    fn what_a_terminal_would_obey_is_left_out() {
        assert_eq!(plain("\u{1b}[31mred\u{1b}[0m\r\n\u{7}x\ty"), "red\nx\ty");
    }

    #[test]
    fn times_are_read_in_utc() {
        assert_eq!(parse_time("1970-01-02").expect("a date"), 86_400_000);
        assert_eq!(parse_time("1970-01-01T00:00:01Z").expect("a time"), 1000);
        assert!(parse_time("yesterday").is_err());
        assert_eq!(time(86_400_000), "1970-01-02 00:00Z");
    }
}
