//! What the commands print: tables, notes, failures, a spinner. Colors are used where the output takes them.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::{Timestamp, tz::TimeZone};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{EarlyExit, format, screen};
use crate::{
    client::host::HostName,
    model::{Failure, FailureKind, RunState, TerminalSize, UnixMs},
    process::descriptor,
};

const DIM: Style = Style::new().dimmed();
const DAY_MS: u64 = 86_400_000;
const SPINNER_INTERVAL: Duration = Duration::from_millis(120);

/// Prints the line of an error.
pub(crate) fn print_error(message: &str) {
    let style = AnsiColor::Red.on_default().bold();
    print_on_stderr(&format!("{style}error:{style:#} {}", for_stderr(message)));
}

/// A failure in the words of the command line. What a request of the protocol is called is known from the kind and its fields.
pub(crate) fn failure_text(failure: &Failure) -> String {
    let field = |name: &str| failure.data.get(name).and_then(|value| value.as_str());
    match (failure.kind, field("state"), field("runId")) {
        (FailureKind::RunActive, Some(state), _) => format!("the run is {state}; cancel it first with `loomd cancel`"),
        (FailureKind::RunNotActive, Some(state), _) => {
            format!("the run has ended ({state}); start a new one with `loomd run`; `--resume RUN` resumes an agent's session")
        }
        (FailureKind::RunNotFound, _, Some(id)) => match field("host") {
            Some(host) => format!("there is no run {host}/{id}; `loomd --host {host} list --all` lists all runs there"),
            None => format!("there is no run {id}; `loomd list --all` lists all runs"),
        },
        // Of the internal failures only that of a supervisor that does not answer names its run.
        (FailureKind::Internal, _, Some(id)) => {
            format!("the supervisor of run {id} does not answer (is it stopped?); `loomd cancel` ends both")
        }
        _ => failure.message.clone(),
    }
}

/// What to do about a failure, beside what it says itself.
fn hint(failure: &Failure) -> Option<String> {
    let field = |name: &str| failure.data.get(name).and_then(|value| value.as_str());
    match (field("reason"), field("program")) {
        _ if failure.kind != FailureKind::SpawnFailed => {}
        (Some("notFound"), Some(program)) if !program.contains('/') => {
            return Some(format!("install `{program}`, give its full path, or set PATH with `--env`"));
        }
        (Some("cwd"), _) => return Some("name another directory with `--cwd`".to_owned()),
        _ => {}
    }
    field("hint").map(str::to_owned)
}

/// Prints a failure on stderr, with the hint that its data may hold.
pub(crate) fn print_failure(failure: &Failure) {
    print_error(&failure_text(failure));
    if let Some(hint) = hint(failure) {
        let style = AnsiColor::Yellow.on_default();
        print_on_stderr(&format!("{style}hint:{style:#} {}", for_stderr(&hint)));
    }
}

/// Prints a note of loomd's own on stderr, dim.
pub(crate) fn note(text: &str) {
    print_on_stderr(&format!("{DIM}{}{DIM:#}", for_stderr(text)));
}

/// Prints a warning on stderr.
pub(crate) fn warn(text: &str) {
    let style = AnsiColor::Yellow.on_default().bold();
    print_on_stderr(&format!("{style}warning:{style:#} {}", for_stderr(text)));
}

/// A text without any control for a terminal on stdout, exact for anything else.
pub(crate) fn for_stdout(text: &str) -> String {
    if std::io::stdout().is_terminal() { format::plain_lines(text) } else { text.to_owned() }
}

/// A text without any control for a terminal on stderr, exact for anything else.
fn for_stderr(text: &str) -> String {
    if stderr_is_terminal() { format::plain_lines(text) } else { text.to_owned() }
}

fn print_on_stderr(text: &str) {
    let text = if stderr_is_terminal() { screen::visible(text) } else { text.into() };
    // It does not matter if nobody reads it: the exit code alone tells of a failure.
    writeln!(anstream::stderr(), "{text}").ok();
}

/// A table as text. On a terminal it has a header and is cut to `columns`.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]], columns: Option<usize>, styles: Styles) -> String {
    let header = header.map(str::to_owned);
    let has_header = columns.is_some() && !rows.is_empty();
    let all = || has_header.then_some(&header).into_iter().chain(rows);
    let mut widths = [0; N];
    all().for_each(|row| row.iter().zip(&mut widths).for_each(|(cell, width)| *width = cell.width().max(*width)));
    let mut text = String::new();
    for (number, row) in all().enumerate() {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.width())));
        let line = cells.collect::<Vec<_>>().join("  ");
        let line = columns.map_or(line.clone(), |columns| truncate(line.trim_end(), columns));
        let line = line.trim_end();
        text.push_str(&if has_header && number == 0 { styles.apply(Style::new().bold(), line) } else { line.to_owned() });
        text.push('\n');
    }
    text
}

/// Prints a command's output.
pub(crate) fn print(text: &str) -> Result<(), EarlyExit> {
    let text = if std::io::stdout().is_terminal() { screen::visible(text) } else { text.into() };
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints text as it is. For a stdout that is no terminal: nothing in the text may act on one.
pub(crate) fn print_exact(text: &str) -> Result<(), EarlyExit> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints a value as one line of JSON.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), EarlyExit> {
    let line = serde_json::to_string(value).map_err(|error| Failure::internal(format!("cannot serialize as JSON: {error}")))?;
    // Not through `anstream`, which would search for color codes: in JSON, escape characters are escaped.
    let mut out = std::io::stdout().lock();
    let line = if out.is_terminal() { screen::json(&line) } else { line.as_str().into() };
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// Prints what is of a host as one line of JSON that names it, and what is of this machine as it is.
pub(crate) fn print_json_of(host: Option<&HostName>, value: &impl serde::Serialize) -> Result<(), EarlyExit> {
    let Some(host) = host else { return print_json(value) };
    let as_json = serde_json::to_value(value).map_err(|error| Failure::internal(format!("cannot serialize as JSON: {error}")));
    let mut object = as_json?;
    object["host"] = host.as_str().into();
    print_json(&object)
}

pub(crate) fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Width of the terminal on stdout; `None` without a terminal.
pub(crate) fn columns() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    descriptor::terminal_size(&stdout).map(|size| usize::from(size.cols)).filter(|cols| *cols > 0)
}

/// Height of the terminal on stdout.
pub(crate) fn rows() -> usize {
    descriptor::terminal_size(std::io::stdout()).map(|size| usize::from(size.rows)).filter(|rows| *rows > 0).unwrap_or(24)
}

/// The size of the terminal that we stand in, on stdout or else on another of our streams.
pub(crate) fn terminal_size() -> Option<TerminalSize> {
    use descriptor::terminal_size as size;
    let sizes = [size(std::io::stdout()), size(std::io::stderr()), size(std::io::stdin())];
    sizes.into_iter().flatten().find(|size| size.rows > 0 && size.cols > 0)
}

/// The style of a state's name.
pub(crate) fn state_style(state: RunState) -> Style {
    match state {
        RunState::Starting | RunState::Running | RunState::Idle => AnsiColor::Cyan.on_default(),
        RunState::AwaitingPermission => AnsiColor::Yellow.on_default().bold(),
        RunState::Succeeded => AnsiColor::Green.on_default(),
        RunState::Failed | RunState::TimedOut | RunState::Lost => AnsiColor::Red.on_default(),
        RunState::Cancelled => AnsiColor::Yellow.on_default(),
    }
}

/// A time: how long ago within a day, else the local date and time.
pub(crate) fn format_time(at: UnixMs, now: UnixMs) -> String {
    let ago = now.saturating_sub(at);
    if ago < DAY_MS {
        return format!("{} ago", if ago < 1000 { "1 s".to_owned() } else { coarse_duration(ago / 1000) });
    }
    let timestamp = Timestamp::from_millisecond(at.cast_signed()).unwrap_or_default();
    timestamp.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

pub(crate) fn now() -> UnixMs {
    Timestamp::now().as_millisecond().unsigned_abs()
}

fn coarse_duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// How many rows of a terminal a line takes. `columns`: `None` if the width is not known.
pub(crate) fn rows_of(line: &str, columns: Option<usize>) -> usize {
    let width = anstream::adapter::strip_str(line).to_string().width();
    columns.map_or(1, |columns| width.div_ceil(columns.max(1)).max(1))
}

/// Cuts a line to this many columns of a terminal, in which some characters take two columns and some none.
pub(crate) fn truncate(line: &str, columns: usize) -> String {
    if line.width() <= columns {
        return line.to_owned();
    }
    let width = columns.saturating_sub(1);
    let mut taken = 0;
    let fits = line.char_indices().find(|(_, c)| {
        taken += c.width().unwrap_or(0);
        taken > width
    });
    let prefix = fits.map_or(line, |(at, _)| &line[..at]);
    // A joiner at the end would join the next character, and half of a joined character is another character.
    format!("{}…", prefix.trim_end_matches(['\u{200d}', '\u{fe0f}']))
}

/// Styles text where colors are enabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Styles {
    pub(crate) has_color: bool,
}

impl Styles {
    /// Colors as our stdout takes them.
    pub(crate) fn of_stdout() -> Self {
        let choice = anstream::AutoStream::choice(&std::io::stdout());
        Self { has_color: choice != anstream::ColorChoice::Never }
    }

    pub(crate) fn apply(self, style: Style, text: &str) -> String {
        if self.has_color && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.apply(DIM, text)
    }
}

/// Shows on a terminal that the command waits. It is erased when it is dropped.
pub(crate) struct Spinner(ProgressBar);

impl Spinner {
    pub(crate) fn start(text: String) -> Self {
        // indicatif draws on stderr, and nothing if that is not a terminal.
        let bar = ProgressBar::new_spinner().with_message(text);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(SPINNER_INTERVAL);
        Self(bar)
    }

    /// Erases it while something else is printed.
    pub(crate) fn suspend<T>(&self, show: impl FnOnce() -> T) -> T {
        self.0.suspend(show)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_an_age_within_a_day_and_a_date_after_it() {
        let now = 1_700_000_000_000;
        assert_eq!(format_time(now - 20, now), "1 s ago");
        assert_eq!(format_time(now - 45_000, now), "45 s ago");
        assert_eq!(format_time(now - 3_599_000, now), "59 min ago");
        assert_eq!(format_time(now - 7_200_000, now), "2 h ago");
        assert!(format_time(now - 2 * DAY_MS, now).starts_with("2023-11-1"));
        assert_eq!(format_time(now + 5, now), "1 s ago");
    }

    #[test]
    fn a_failure_is_worded_by_its_kind_and_fields() {
        let expected = "the run has ended (failed); start a new one with `loomd run`; `--resume RUN` resumes an agent's session";
        assert_eq!(failure_text(&Failure::run_not_active(RunState::Failed)), expected);
        assert_eq!(failure_text(&Failure::run_active(RunState::Running)), "the run is running; cancel it first with `loomd cancel`");
        let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id");
        assert!(failure_text(&Failure::run_not_found(id)).ends_with("`loomd list --all` lists all runs"));
        // Names that a person chose are never replaced.
        let own = "unknown provider `run/start`; choose one of `run/cancel`";
        assert_eq!(failure_text(&Failure::new(FailureKind::ProviderNotFound, own)), own);
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        assert_eq!(truncate("ééééé", 5), "ééééé");
        assert_eq!(truncate("éééééé", 5), "éééé…");
        assert_eq!(truncate("日本語テスト", 12), "日本語テスト");
        assert_eq!(truncate("日本語テスト", 8), "日本語…", "seven columns and one half would be too many");
        assert_eq!(truncate("a👩\u{200d}👩\u{200d}👧b and more", 5), "a👩…");
    }
}
