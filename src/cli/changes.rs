//! `loomd changes`: the files that an agent changed, as patches or counted.

use super::{
    Stop,
    agent::diff::{Diff, What},
    client::Launch,
    render::{self, Ink},
};
use crate::model::calls::{ChangeKind, ChangedFile, ChangesResult, RunIdParams};

/// Show what an agent changed in files
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The run [default: the newest]
    pub run: Option<String>,
    /// Only how many lines came and went in each file
    #[arg(long)]
    pub stat: bool,
    /// Print what is known as JSON
    #[arg(long)]
    pub json: bool,
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let session = launch.open_quiet().await?;
    let run_id = session.run_id_or_newest(options.run.as_deref()).await?;
    let changes: ChangesResult = session.call("run/changes", RunIdParams { run_id }).await?;
    session.close().await;
    if options.json {
        render::print_json(&changes)?;
        return Ok(0);
    }
    render::print(&shown(&changes.files, options.stat, Ink::of_stdout()))?;
    if changes.files.is_empty() {
        render::note("the agent told of no change in a file");
    }
    if !changes.complete {
        render::note("commands that it ran may have changed files too");
    }
    Ok(0)
}

fn shown(files: &[ChangedFile], only_counts: bool, ink: Ink) -> String {
    files
        .iter()
        .map(|file| if only_counts { counts(file, ink) } else { parts(file).iter().map(|part| part.whole(ink, "")).collect() })
        .collect()
}

/// One line for a file: `M src/a.rs +3 −1`.
fn counts(file: &ChangedFile, ink: Ink) -> String {
    let letter = match file.kind {
        ChangeKind::Add => 'A',
        ChangeKind::Modify => 'M',
        ChangeKind::Delete => 'D',
        ChangeKind::Move => 'R',
    };
    let (added, removed) = parts(file).iter().map(Diff::counts).fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
    format!("{letter} {}\n", Diff::line(&file.path, added, removed, ink))
}

/// The texts, and the patches that came after them.
fn parts(file: &ChangedFile) -> Vec<Diff> {
    let texts = file.new_text.clone().or_else(|| file.old_text.as_ref().map(|_| String::new()));
    let texts = texts.map(|new| What::Texts { old: file.old_text.clone(), new });
    let patch = file.patch.clone().map(What::Patch);
    [texts, patch].into_iter().flatten().map(|what| Diff { path: file.path.clone(), what }).collect()
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
        let ink = Ink::default();
        assert_eq!(shown(&files, true, ink), "M /w/a +1 −1\nA /w/a +1 −0\nD /w/a +0 −1\n");
        let whole = shown(&files, false, ink);
        assert!(whole.starts_with("--- /w/a\n+++ /w/a\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n--- /dev/null\n+++ /w/a\n+x\n--- a/a\n"), "{whole}");
    }
}
