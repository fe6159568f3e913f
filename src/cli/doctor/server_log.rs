//! The last errors and warnings in a server's log, without anything that a run, a person or this machine put into them.
//!
//! A message is shown only where it is a text of this executable itself, and of a field only what can be nothing else than a run's
//! id, a number or the system's number of an error. So no line that something else wrote into the log shows more either.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use crate::model::RunId;

/// As much of the log's end is read.
const MAX_READ_BYTES: u64 = 1 << 20;
/// Most lines that are shown.
const MAX_LINES: usize = 20;
/// The fields that hold a number.
const NUMBERS: [&str; 3] = ["bytes", "pid", "runs"];

/// The newest errors and warnings, the oldest first.
pub(super) fn last_problems(path: &Path) -> io::Result<Vec<String>> {
    // A pipe would be waited for.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("no regular file"));
    }
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_READ_BYTES)))?;
    let mut text = Vec::new();
    file.take(MAX_READ_BYTES).read_to_end(&mut text)?;
    let executable = std::fs::read(std::env::current_exe()?)?;
    let text = String::from_utf8_lossy(&text);
    let mut found: Vec<String> =
        text.lines().rev().filter_map(|line| shown(line, |text| is_part_of(&executable, text))).take(MAX_LINES).collect();
    found.reverse();
    Ok(found)
}

fn is_part_of(executable: &[u8], text: &str) -> bool {
    memchr::memmem::find(executable, text.as_bytes()).is_some()
}

/// What is shown of a line; `None`: it tells of no problem, or is no line of a log.
fn shown(line: &str, is_ours: impl Fn(&str) -> bool) -> Option<String> {
    let mut words = line.trim_start().splitn(3, ' ');
    let time =
        words.next().filter(|word| word.ends_with('Z') && word.bytes().all(|byte| byte.is_ascii_digit() || b"-:TZ.".contains(&byte)))?;
    let (level, rest) = (words.next()?, words.next()?);
    // The level has a width, so that INFO and WARN follow two spaces.
    let (level, rest) = if level.is_empty() { rest.split_once(' ')? } else { (level, rest) };
    let (target, text) = rest.split_once(": ")?;
    if !matches!(level, "ERROR" | "WARN") || !target.starts_with("loomd::") || !is_ours(target) {
        return None;
    }
    let fields: Vec<(usize, &str)> = text.match_indices('=').filter_map(|(at, _)| field_name(text, at)).collect();
    let message = text[..fields.first().map_or(text.len(), |(at, _)| *at)].trim_end();
    let mut shown = format!("{time} {level} {target}: {}", if is_ours(message) { message } else { "(a text that is not this version's)" });
    for (index, (at, name)) in fields.iter().enumerate() {
        let end = fields.get(index + 1).map_or(text.len(), |(next, _)| *next);
        let value = text[at + name.len() + 1..end].trim();
        let value = match *name {
            "run" => value.parse::<RunId>().ok().map(|id| format!(" run={id}")),
            name if NUMBERS.contains(&name) => value.parse::<u64>().ok().map(|number| format!(" {name}={number}")),
            _ => system_error(value).map(|number| format!(" (os error {number})")),
        };
        shown.extend(value);
    }
    Some(shown)
}

/// The field whose name ends before the `=` at `end`, and where it begins.
fn field_name(text: &str, end: usize) -> Option<(usize, &str)> {
    let begin = text[..end].rfind(' ')? + 1;
    let name = &text[begin..end];
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_name.then_some((begin, name))
}

/// The number in `(os error 13)`.
fn system_error(text: &str) -> Option<u32> {
    let (_, behind) = text.rsplit_once("(os error ")?;
    behind.split_once(')')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "0192f7a4-0000-7000-8000-000000000001";

    fn shown_of(line: &str) -> Option<String> {
        shown(line, |text| ["loomd::runs::seal", "cannot close the run yet"].contains(&text))
    }

    #[test]
    fn a_line_keeps_its_message_and_what_can_be_no_secret() {
        let line = format!(
            "2026-01-02T03:04:05.678901Z  WARN loomd::runs::seal: cannot close the run yet run={RUN} pid=17 failure=cannot read \
             /home/ann/secret=x: Permission denied (os error 13) title=\"the secret\""
        );
        let expected =
            format!("2026-01-02T03:04:05.678901Z WARN loomd::runs::seal: cannot close the run yet run={RUN} pid=17 (os error 13)");
        assert_eq!(shown_of(&line), Some(expected));
    }

    #[test]
    fn values_that_are_not_what_their_field_holds_are_left_out() {
        let shown = shown_of("2026-01-02T03:04:05Z ERROR loomd::runs::seal: cannot close the run yet run=secret pid=secret bytes=-1");
        assert_eq!(shown.as_deref(), Some("2026-01-02T03:04:05Z ERROR loomd::runs::seal: cannot close the run yet"));
    }

    #[test]
    fn what_this_program_does_not_say_is_not_shown() {
        let other = shown_of("2026-01-02T03:04:05Z ERROR loomd::runs::seal: my secret prompt").expect("it is a problem");
        assert!(!other.contains("secret"), "{other}");
        for line in [
            "secret",
            "2026-01-02T03:04:05Z  INFO loomd::runs::seal: cannot close the run yet",
            "2026-01-02T03:04:05Z ERROR loomd::secret: cannot close the run yet",
            "2026-01-02T03:04:05Z ERROR other::secret: cannot close the run yet",
            "secretZ ERROR loomd::runs::seal: cannot close the run yet",
        ] {
            assert_eq!(shown_of(line), None, "{line}");
        }
    }

    #[test]
    fn the_texts_of_this_executable_are_found_in_it() {
        let executable = std::fs::read(std::env::current_exe().expect("a path")).expect("read");
        assert!(is_part_of(&executable, "the run will be sealed later") && is_part_of(&executable, "loomd::runs::store_worker"));
    }
}
