//! Sessions that a provider keeps as files: listed, and found again.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use super::providers::Known;
use crate::{
    model::{Failure, calls::SessionsResult},
    provider::{Question, SessionFiles},
};

/// Sessions on a page.
const PAGE: usize = 50;
/// So much of a file is read to know what it is about.
const HEAD: u64 = 64 << 10;

/// A page of sessions, newest first. A cursor is the number of those before it.
pub fn list(files: &dyn SessionFiles, known: &Known, question: &Question) -> Result<SessionsResult, Failure> {
    let Question::Sessions { cwd, cursor } = question else { return Ok(SessionsResult::default()) };
    let wrong = |_| Failure::invalid_params("cursor", "`cursor` must be the `nextCursor` of the page before");
    let skip: usize = cursor.as_deref().map(str::parse).transpose().map_err(wrong)?.unwrap_or(0);
    let Some(root) = files.root(&variable(known)) else { return Ok(SessionsResult::default()) };
    let directories = match cwd {
        Some(cwd) => vec![root.join(files.directory(cwd))],
        None => entries(&root),
    };
    let mut found: Vec<(u64, PathBuf)> =
        directories.iter().flat_map(|directory| entries(directory)).map(|path| (changed(&path), path)).collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    let mut sessions = Vec::new();
    let mut seen = 0;
    for (updated_at, path) in &found {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some(mut session) = files.session(name, &head(path)) else { continue };
        // Two places may be named alike; the file knows better.
        if cwd.as_ref().is_some_and(|cwd| session.cwd.as_ref().is_some_and(|its| its != cwd)) {
            continue;
        }
        seen += 1;
        if seen <= skip {
            continue;
        }
        if sessions.len() == PAGE {
            return Ok(SessionsResult { sessions, next_cursor: Some((seen - 1).to_string()) });
        }
        session.updated_at = Some(*updated_at);
        sessions.push(session);
    }
    Ok(SessionsResult { sessions, next_cursor: None })
}

/// Where a session's file is. Of a provider that keeps files, one that is nowhere is said to be where it should be.
pub fn file(known: &Known, id: &str) -> Option<PathBuf> {
    let files = known.provider?.session_files()?;
    let root = files.root(&variable(known))?;
    let name = format!("{id}.jsonl");
    let found = entries(&root).into_iter().map(|directory| directory.join(&name)).find(|path| path.exists());
    // Without any directory it works with another home than ours, and nothing is known.
    found.or_else(|| root.is_dir().then(|| root.join(name)))
}

fn variable(known: &Known) -> impl Fn(&str) -> Option<String> {
    |name| known.env.get(name).cloned().or_else(|| std::env::var(name).ok())
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn changed(path: &Path) -> u64 {
    let changed = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let since = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0)
}

fn head(path: &Path) -> String {
    let mut bytes = Vec::new();
    // What cannot be read is no session.
    let _ = fs::File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
