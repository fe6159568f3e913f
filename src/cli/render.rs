//! What people see beside the output of their programs: notes, failures, a spinner; colours on a terminal only.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::{Timestamp, tz::TimeZone};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{Stop, phrase};
use crate::model::{Failure, RunState, UnixMs};

const DIM: Style = Style::new().dimmed();
const DAY_MS: u64 = 86_400_000;

/// A failure as a line.
pub fn error(message: &str) -> String {
    let style = AnsiColor::Red.on_default().bold();
    format!("{style}error:{style:#} {message}")
}

/// Tells a failure on stderr, and what would mend it where that is known.
pub fn tell_failure(failure: &Failure) {
    let mut text = error(&phrase::of_the_command_line(&failure.message));
    if let Some(hint) = failure.data.get("hint").and_then(|hint| hint.as_str()) {
        let style = AnsiColor::Yellow.on_default();
        text.push_str(&format!("\n{style}hint:{style:#} {}", phrase::of_the_command_line(hint)));
    }
    // If nobody reads stderr, the exit code must do.
    writeln!(anstream::stderr(), "{text}").ok();
}

/// Says something beside the program's output: on stderr, dim.
pub fn note(text: &str) {
    writeln!(anstream::stderr(), "{DIM}{text}{DIM:#}").ok();
}

/// Says what may go wrong, on stderr.
pub fn warn(text: &str) {
    let style = AnsiColor::Yellow.on_default().bold();
    writeln!(anstream::stderr(), "{style}warning:{style:#} {text}").ok();
}

/// Rows as columns; with a head, and cut to the width, on a terminal.
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]], columns: Option<usize>, ink: Ink) -> String {
    let head = head.map(str::to_owned);
    let shown = columns.is_some() && !rows.is_empty();
    let all = || shown.then_some(&head).into_iter().chain(rows);
    let mut widths = [0; N];
    all().for_each(|row| row.iter().zip(&mut widths).for_each(|(cell, width)| *width = cell.width().max(*width)));
    let mut text = String::new();
    for (number, row) in all().enumerate() {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.width())));
        let line = cells.collect::<Vec<_>>().join("  ");
        let line = columns.map_or(line.clone(), |columns| cut(line.trim_end(), columns));
        let line = line.trim_end();
        text.push_str(&if shown && number == 0 { ink.paint(Style::new().bold(), line) } else { line.to_owned() });
        text.push('\n');
    }
    text
}

/// Writes a command's own output.
pub fn print(text: &str) -> Result<(), Stop> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes something as one line of JSON.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Stop> {
    let line = serde_json::to_string(value).map_err(|error| Failure::internal(format!("it cannot be written as JSON: {error}")))?;
    // Not through `print`: an escape character in JSON is escaped, and nothing is to be looked for.
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

pub fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Columns of the terminal on stdout; `None` when it is none.
pub fn columns() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// The colour of a state.
pub fn state_style(state: RunState) -> Style {
    match state {
        RunState::Starting | RunState::Running | RunState::Idle => AnsiColor::Cyan.on_default(),
        RunState::AwaitingPermission => AnsiColor::Yellow.on_default().bold(),
        RunState::Succeeded => AnsiColor::Green.on_default(),
        RunState::Failed | RunState::TimedOut | RunState::Lost => AnsiColor::Red.on_default(),
        RunState::Cancelled => AnsiColor::Yellow.on_default(),
    }
}

/// When something was: how long ago within a day, else the local date and time.
pub fn when(at: UnixMs, now: UnixMs) -> String {
    let ago = now.saturating_sub(at);
    if ago < DAY_MS {
        return format!("{} ago", if ago < 1000 { "1 s".to_owned() } else { coarse(ago / 1000) });
    }
    let timestamp = Timestamp::from_millisecond(at.cast_signed()).unwrap_or_default();
    timestamp.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

pub fn now() -> UnixMs {
    Timestamp::now().as_millisecond().unsigned_abs()
}

fn coarse(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// Cuts a line to so many columns of a terminal, on which some characters take two and some none.
pub fn cut(line: &str, columns: usize) -> String {
    if line.width() <= columns {
        return line.to_owned();
    }
    let room = columns.saturating_sub(1);
    let mut taken = 0;
    let fits = line.char_indices().find(|(_, c)| {
        taken += c.width().unwrap_or(0);
        taken > room
    });
    let kept = fits.map_or(line, |(at, _)| &line[..at]);
    // Half of a joined character would be another character.
    format!("{}…", kept.trim_end_matches(['\u{200d}', '\u{fe0f}']))
}

/// A text with a style, where there are colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ink {
    pub has_colour: bool,
}

impl Ink {
    /// As our stdout takes it.
    pub fn of_stdout() -> Self {
        let choice = anstream::AutoStream::choice(&std::io::stdout());
        Self { has_colour: choice != anstream::ColorChoice::Never }
    }

    pub fn paint(self, style: Style, text: &str) -> String {
        if self.has_colour && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    pub fn dim(self, text: &str) -> String {
        self.paint(DIM, text)
    }
}

/// Shows on a terminal that something is waited for; it goes when it is dropped.
pub struct Spinner(ProgressBar);

impl Spinner {
    pub fn start(text: String) -> Self {
        // indicatif draws on stderr, and nothing at all where that is no terminal.
        let bar = ProgressBar::new_spinner().with_message(text);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    /// Takes it away while something else is shown.
    pub fn suspend<T>(&self, show: impl FnOnce() -> T) -> T {
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
    fn ages_are_coarse_and_old_things_have_a_date() {
        let now = 1_700_000_000_000;
        assert_eq!(when(now - 20, now), "1 s ago");
        assert_eq!(when(now - 45_000, now), "45 s ago");
        assert_eq!(when(now - 3_599_000, now), "59 min ago");
        assert_eq!(when(now - 7_200_000, now), "2 h ago");
        assert!(when(now - 2 * DAY_MS, now).starts_with("2023-11-1"));
        assert_eq!(when(now + 5, now), "1 s ago");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        assert_eq!(cut("ééééé", 5), "ééééé");
        assert_eq!(cut("éééééé", 5), "éééé…");
        assert_eq!(cut("日本語テスト", 12), "日本語テスト");
        assert_eq!(cut("日本語テスト", 8), "日本語…", "seven columns and one half would be too many");
        assert_eq!(cut("a👩\u{200d}👩\u{200d}👧b and more", 5), "a👩…");
    }
}
