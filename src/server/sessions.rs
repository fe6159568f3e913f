//! Lists and finds sessions that a provider keeps as files.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use super::providers::KnownProvider;
use crate::{
    model::{Failure, calls::SessionsResult},
    provider::{ProbeQuery, SessionFiles},
};

/// Sessions on a page.
const MAX_PAGE_SESSIONS: usize = 50;
/// Bytes of a session's file that are read to learn its directory and title.
const SESSION_HEAD_BYTES: u64 = 64 << 10;

/// A page of sessions, newest first. A cursor is the number of sessions before the page.
pub(crate) fn list(files: &dyn SessionFiles, known: &KnownProvider, query: &ProbeQuery) -> Result<SessionsResult, Failure> {
    let ProbeQuery::Sessions { cwd, cursor } = query else { return Ok(SessionsResult::default()) };
    let invalid_cursor = |_| Failure::invalid_params("cursor", "`cursor` must be the `nextCursor` of the previous page");
    let skip: usize = cursor.as_deref().map(str::parse).transpose().map_err(invalid_cursor)?.unwrap_or(0);
    let Some(root) = files.root(&environment(known)) else { return Ok(SessionsResult::default()) };
    let directories = match cwd {
        Some(cwd) => vec![root.join(files.directory(cwd))],
        None => dir_entries(&root),
    };
    let mut files_by_age: Vec<(u64, PathBuf)> =
        directories.iter().flat_map(|directory| dir_entries(directory)).map(|path| (modified_ms(&path), path)).collect();
    files_by_age.sort_unstable_by(|a, b| b.cmp(a));
    let mut sessions = Vec::new();
    let mut seen = 0;
    for (updated_at, path) in &files_by_age {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some(mut session) = files.session(name, &file_head(path)) else { continue };
        // Two working directories may have the same directory of sessions; the file tells which one a session belongs
        // to.
        if cwd.as_ref().is_some_and(|cwd| session.cwd.as_ref().is_some_and(|its| its != cwd)) {
            continue;
        }
        seen += 1;
        if seen <= skip {
            continue;
        }
        if sessions.len() == MAX_PAGE_SESSIONS {
            return Ok(SessionsResult { sessions, next_cursor: Some((seen - 1).to_string()) });
        }
        session.updated_at = Some(*updated_at);
        sessions.push(session);
    }
    Ok(SessionsResult { sessions, next_cursor: None })
}

/// The path of a session's file. If a provider that keeps files has no such file, the path is where it should be.
pub(crate) fn file(known: &KnownProvider, id: &str) -> Option<PathBuf> {
    let files = known.provider?.session_files()?;
    let root = files.root(&environment(known))?;
    let name = format!("{id}.jsonl");
    let path = dir_entries(&root).into_iter().map(|directory| directory.join(&name)).find(|path| path.exists());
    // Without the root directory the provider uses another home than ours, and nothing is known.
    path.or_else(|| root.is_dir().then(|| root.join(name)))
}

fn environment(known: &KnownProvider) -> impl Fn(&str) -> Option<String> {
    |name| known.env.get(name).cloned().or_else(|| std::env::var(name).ok())
}

fn dir_entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn modified_ms(path: &Path) -> u64 {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0)
}

fn file_head(path: &Path) -> String {
    let mut bytes = Vec::new();
    // A file that cannot be read yields an empty head, which is no session.
    fs::File::open(path).and_then(|file| file.take(SESSION_HEAD_BYTES).read_to_end(&mut bytes)).ok();
    String::from_utf8_lossy(&bytes).into_owned()
}
