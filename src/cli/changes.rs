//! `loomd changes`: the files that an agent changed, as patches or as counts of lines.

use anstyle::{AnsiColor, Style};
use similar::TextDiff;

use super::{
    EarlyExit,
    client::ServerLaunch,
    format,
    render::{self, Styles},
};
use crate::{
    model::{
        calls::{ChangeKind, ChangedFile, RunIdParams},
        item::FileDiff,
        methods::RunChanges,
    },
    transcript::patch,
};

/// Longer texts are not compared line by line, which would take too long: all lines count as changed.
const MAX_DIFFED_BYTES: usize = 1 << 20;

const ADDED_STYLE: Style = AnsiColor::Green.on_default();
const REMOVED_STYLE: Style = AnsiColor::Red.on_default();

/// Show the files that an agent changed
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Run ID or its last digits [default: the newest run]
    pub(crate) run: Option<String>,
    /// Show only the number of added and removed lines per file
    #[arg(long)]
    pub(crate) stat: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let session = launch.open_without_notifications().await?;
    let run_id = session.run_id_or_newest(options.run.as_deref()).await?;
    let changes = session.call(RunChanges, RunIdParams { run_id }).await?;
    session.close().await;
    if options.json {
        render::print_json(&changes)?;
        return Ok(0);
    }
    render::print(&changes_text(&changes.files, options.stat, Styles::of_stdout()))?;
    if changes.files.is_empty() {
        render::note("No recorded changes");
    }
    if !changes.complete {
        render::note("May be incomplete: commands of this run may have changed files.");
    }
    Ok(0)
}

fn changes_text(files: &[ChangedFile], only_counts: bool, styles: Styles) -> String {
    let whole = |file: &ChangedFile| patches(file).iter().map(|patch| colored(patch, styles, "")).collect::<String>();
    files.iter().map(|file| if only_counts { counts(file, styles) } else { whole(file) }).collect()
}

/// The line of a file: `M src/a.rs +3 −1`.
fn counts(file: &ChangedFile, styles: Styles) -> String {
    let letter = match file.kind {
        ChangeKind::Add => 'A',
        ChangeKind::Modify => 'M',
        ChangeKind::Delete => 'D',
        ChangeKind::Move => 'R',
    };
    let counts = patches(file).iter().map(|patch| patch::counts(patch)).fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
    format!("{letter} {}\n", counted(&file.path, counts, styles))
}

/// The change from old to new text, and the patches that came after it.
fn patches(file: &ChangedFile) -> Vec<String> {
    let (old_text, new_text) = (file.old_text.clone(), file.new_text.clone());
    let texts = FileDiff { path: file.path.clone(), kind: file.kind, patch: None, old_text, new_text, omitted: false };
    let texts = Some(texts).filter(|texts| texts.old_text.is_some() || texts.new_text.is_some());
    texts.as_ref().map(patch_of).into_iter().chain(file.patch.clone()).collect()
}

/// A change as a unified patch.
pub(crate) fn patch_of(diff: &FileDiff) -> String {
    let (path, new) = (&diff.path, diff.new_text.as_deref().unwrap_or_default());
    let lines = |sign: char, text: &str| text.lines().map(|line| format!("{sign}{line}\n")).collect::<String>();
    match (&diff.patch, diff.old_text.as_deref()) {
        (Some(patch), _) => patch.clone(),
        (None, None) => format!("--- /dev/null\n+++ {path}\n{}", lines('+', new)),
        (None, Some(old)) if old.len() + new.len() > MAX_DIFFED_BYTES => {
            format!("--- {path}\n+++ {path}\n{}{}", lines('-', old), lines('+', new))
        }
        (None, Some(old)) => {
            TextDiff::from_lines(old, new).unified_diff().context_radius(3).missing_newline_hint(false).header(path, path).to_string()
        }
    }
}

/// `src/a.rs +3 −1`.
pub(crate) fn summary(diff: &FileDiff, styles: Styles) -> String {
    if diff.omitted {
        return format!("{} {}", format::plain(&diff.path), styles.dim("(a long change; `loomd changes` shows it)"));
    }
    counted(&diff.path, patch::counts(&patch_of(diff)), styles)
}

/// A file with its added and removed lines.
pub(crate) fn counted(path: &str, (added, removed): (usize, usize), styles: Styles) -> String {
    let (added, removed) = (format!("+{added}"), format!("−{removed}"));
    format!("{} {} {}", format::plain(path), styles.apply(ADDED_STYLE, &added), styles.apply(REMOVED_STYLE, &removed))
}

/// The lines of a patch in color, each after `margin`.
pub(crate) fn colored(patch: &str, styles: Styles, margin: &str) -> String {
    patch.lines().map(|line| format!("{margin}{}\n", styles.apply(line_style(line), &format::plain_lines(line)))).collect()
}

fn line_style(line: &str) -> Style {
    match line.as_bytes().first() {
        _ if line.starts_with("+++") || line.starts_with("---") || line.starts_with("diff ") => Style::new().bold(),
        Some(b'+') => ADDED_STYLE,
        Some(b'-') => REMOVED_STYLE,
        Some(b'@') => AnsiColor::Cyan.on_default(),
        _ => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(kind: ChangeKind, patch: Option<&str>, old: Option<&str>, new: Option<&str>) -> ChangedFile {
        let text = |text: Option<&str>| text.map(str::to_owned);
        ChangedFile { path: "/w/a".to_owned(), kind, patch: text(patch), old_text: text(old), new_text: text(new) }
    }

    #[test]
    fn files_are_counted_and_shown() {
        let files = [
            file(ChangeKind::Modify, None, Some("a\nb\n"), Some("a\nc\n")),
            file(ChangeKind::Add, None, None, Some("x\n")),
            file(ChangeKind::Delete, Some("--- a/a\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"), None, None),
        ];
        let styles = Styles::default();
        assert_eq!(changes_text(&files, true, styles), "M /w/a +1 −1\nA /w/a +1 −0\nD /w/a +0 −1\n");
        let text = changes_text(&files, false, styles);
        assert!(text.starts_with("--- /w/a\n+++ /w/a\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n--- /dev/null\n+++ /w/a\n+x\n--- a/a\n"), "{text}");
    }

    fn diff(old: Option<&str>, new: &str) -> FileDiff {
        let text = |text: &str| Some(text.to_owned());
        let old_text = old.and_then(text);
        FileDiff { path: "/w/a.rs".to_owned(), kind: ChangeKind::Modify, patch: None, old_text, new_text: text(new), omitted: false }
    }

    #[test]
    fn changes_are_counted_by_lines() {
        let line = |diff: &FileDiff| summary(diff, Styles::default());
        assert_eq!(line(&diff(Some("a\nb\nc\n"), "a\nB\nc\nd\n")), "/w/a.rs +2 −1");
        assert_eq!(line(&diff(None, "a\nb")), "/w/a.rs +2 −0");
        let patch = FileDiff { patch: Some("--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n-a\n+b\n+c\n".to_owned()), ..diff(None, "") };
        assert_eq!(line(&patch), "/w/a.rs +2 −1");
        assert!(line(&FileDiff { omitted: true, ..diff(None, "") }).contains("loomd changes"));
    }

    #[test]
    fn the_full_text_of_a_change_is_a_patch() {
        let shown = |diff: &FileDiff, margin: &str| colored(&patch_of(diff), Styles::default(), margin);
        let expected = "  --- /w/a.rs\n  +++ /w/a.rs\n  @@ -1,2 +1,2 @@\n   a\n  -b\n  +B\n";
        assert_eq!(shown(&diff(Some("a\nb\n"), "a\nB\n"), "  "), expected);
        assert_eq!(shown(&diff(None, "x\u{1b}[2J\n"), ""), "--- /dev/null\n+++ /w/a.rs\n+x␣[2J\n");
    }
}
