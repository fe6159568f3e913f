//! `loomd changes`: the files that an agent changed, as patches or as counts of lines.

use std::io::IsTerminal as _;

use anstyle::{AnsiColor, Style};

use super::{
    EarlyExit, format,
    render::{self, Styles},
};
use crate::{
    client::ServerLaunch,
    model::{
        calls::{ChangeKind, ChangedFile, RunIdParams},
        item::FileDiff,
        methods::RunChanges,
    },
    transcript::patch,
};

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
    let cwd = session.run(run_id).await?.cwd;
    session.close().await;
    if options.json {
        render::print_json(&changes)?;
        return Ok(0);
    }
    if options.stat {
        render::print(&changes.files.iter().map(|file| counts(file, &cwd, Styles::of_stdout())).collect::<String>())?;
    } else if std::io::stdout().is_terminal() {
        render::print(&shown_patches(&changes.files, &cwd, Styles::of_stdout()))?;
    } else {
        // For `git apply`: every byte counts.
        render::print_exact(&changes.files.iter().flat_map(|file| patches(file, &cwd)).collect::<String>())?;
    }
    if changes.files.is_empty() {
        render::note("No recorded changes");
    }
    if !changes.complete {
        render::note("May be incomplete: commands of this run may have changed files.");
    }
    Ok(0)
}

fn shown_patches(files: &[ChangedFile], cwd: &str, styles: Styles) -> String {
    files.iter().flat_map(|file| patches(file, cwd)).map(|patch| colored(&patch, styles, "")).collect()
}

/// The line of a file: `M src/a.rs +3 −1`.
fn counts(file: &ChangedFile, cwd: &str, styles: Styles) -> String {
    let letter = match file.kind {
        ChangeKind::Add => 'A',
        ChangeKind::Modify => 'M',
        ChangeKind::Delete => 'D',
        ChangeKind::Move => 'R',
    };
    let counts = patches(file, cwd).iter().map(|patch| patch::counts(patch)).fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
    format!("{letter} {}\n", counted(&file.path, counts, styles))
}

/// The change from old to new text, and the patches that came after it. Each ends with a line end.
fn patches(file: &ChangedFile, cwd: &str) -> Vec<String> {
    let (old_text, new_text) = (file.old_text.clone(), file.new_text.clone());
    let texts = FileDiff { path: file.path.clone(), kind: file.kind, patch: None, old_text, new_text, omitted: false };
    let texts = Some(texts).filter(|texts| texts.old_text.is_some() || texts.new_text.is_some());
    texts.as_ref().map(|texts| patch::applicable(texts, cwd)).into_iter().chain(file.patch.as_deref().map(whole_lines)).collect()
}

fn whole_lines(patch: &str) -> String {
    if patch.is_empty() || patch.ends_with('\n') { patch.to_owned() } else { format!("{patch}\n") }
}

/// `src/a.rs +3 −1`.
pub(crate) fn summary(diff: &FileDiff, styles: Styles) -> String {
    if diff.omitted {
        return format!("{} {}", format::plain(&diff.path), styles.dim("(a long change; `loomd changes` shows it)"));
    }
    counted(&diff.path, patch::counts(&patch::applicable(diff, "")), styles)
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
            file(ChangeKind::Add, None, None, Some("x\u{1b}[2J\n")),
            file(ChangeKind::Delete, Some("--- a/a\n+++ /dev/null\n@@ -1 +0,0 @@\n-x"), None, None),
        ];
        let styles = Styles::default();
        let lines: String = files.iter().map(|file| counts(file, "/w", styles)).collect();
        assert_eq!(lines, "M /w/a +1 −1\nA /w/a +1 −0\nD /w/a +0 −1\n");
        let text = shown_patches(&files, "/w", styles);
        let (added, deleted) = ("--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+x␣[2J\n", "--- a/a\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n");
        assert_eq!(text, format!("--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n{added}{deleted}"));
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
}
