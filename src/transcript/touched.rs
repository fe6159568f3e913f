//! Which files the tool calls of a run name, so that runs are found by them.

use std::collections::{BTreeMap, BTreeSet};

use memchr::memmem;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::{meta, patch};
use crate::{
    history::{ForwardReader, History, HistoryError, ReadOutcome},
    model::{Entry, Kind, Run, RunId, line},
};

/// Files by which one run is found; of further ones it is not known that it names them.
const MAX_FILES: usize = 2000;

/// The files that tool calls name: those that they read, change, delete or move. Each has up to two spellings, the absolute
/// path and the one relative to the run's directory.
#[derive(Debug)]
pub(crate) struct TouchedFiles {
    cwd: String,
    spellings: BTreeSet<String>,
}

impl TouchedFiles {
    /// None yet, of a run in this directory.
    pub(crate) fn new(cwd: &str) -> Self {
        Self { cwd: cwd.to_owned(), spellings: BTreeSet::new() }
    }

    /// Those that whole lines of the run's log name.
    pub(crate) fn of_lines(cwd: &str, lines: &[u8]) -> BTreeSet<String> {
        let mut files = Self::new(cwd);
        files.take_lines(lines);
        files.spellings
    }

    /// Adds those that further lines name.
    pub(crate) fn take_lines(&mut self, lines: &[u8]) {
        for line in line::lines(lines) {
            let is_update = line::head(line).is_none_or(|head| head.kind == Kind::Update);
            let names_files = || [&b"\"path\""[..], b"loomd/patch"].iter().any(|word| memmem::find(line, word).is_some());
            if is_update
                && names_files()
                && let Ok(Entry::Update(entry)) = line::parse(line)
            {
                self.take_update(&entry.update);
            }
        }
    }

    /// Whether a file is among them. `path` is one of [`searched_path`].
    pub(crate) fn contains(&self, path: &str) -> bool {
        self.spellings.contains(path)
    }

    fn take_update(&mut self, update: &Map<String, Value>) {
        if !matches!(update.get("sessionUpdate").and_then(Value::as_str), Some("tool_call" | "tool_call_update")) {
            return;
        }
        let list = |name: &str| update.get(name).and_then(Value::as_array).into_iter().flatten();
        let locations = list("locations").filter_map(|location| location["path"].as_str());
        let diffs = list("content").filter(|block| block["type"] == "diff").filter_map(|block| block["path"].as_str());
        locations.chain(diffs).for_each(|path| self.add(path));
        if let Some(text) = meta(update, "loomd/patch").and_then(Value::as_str) {
            patch::of_patch(text, "").iter().for_each(|diff| self.add(&diff.path));
        }
    }

    fn add(&mut self, path: &str) {
        if path.is_empty() || self.spellings.len() >= 2 * MAX_FILES {
            return;
        }
        let path = absolute_path(&self.cwd, path);
        let below = path.strip_prefix(self.cwd.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
        self.spellings.extend(below.filter(|rest| !rest.is_empty()).map(str::to_owned));
        self.spellings.insert(path);
    }
}

/// The spelling by which a file is searched: absolute, or relative to the directories of the runs. `None` for a path that names
/// no file.
pub(crate) fn searched_path(path: &str) -> Option<String> {
    let is_absolute = path.starts_with('/') || path.starts_with("file://");
    let whole = absolute_path("/", path);
    let path = if is_absolute { whole.as_str() } else { whole.trim_start_matches('/') };
    Some(path.to_owned()).filter(|path| !matches!(path.as_str(), "" | "/"))
}

/// The one spelling of a path: absolute, without `.` and `..`, and no address. Patches name files relative to the run's
/// directory.
pub(crate) fn absolute_path(cwd: &str, path: &str) -> String {
    let path = path
        .strip_prefix("file://")
        .map_or_else(|| path.to_owned(), |path| percent_decoded(path.strip_prefix("localhost").unwrap_or(path)));
    let is_of_windows = path.as_bytes().get(1) == Some(&b':') && path.as_bytes()[0].is_ascii_alphabetic();
    if is_of_windows || (cwd.is_empty() && !path.starts_with('/')) {
        return path;
    }
    let whole = if path.starts_with('/') { path } else { format!("{cwd}/{path}") };
    let mut names: Vec<&str> = Vec::new();
    for name in whole.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

/// A text with its `%41`s as what they stand for.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        match after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(b'%');
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How much of a log is read at a time.
const READ_BLOCK_BYTES: usize = 1 << 20;

/// What was found in each run so far, so that only what a run has said since is read.
#[derive(Debug, Default)]
pub(crate) struct UnsealedFiles(Mutex<BTreeMap<RunId, ReadPart>>);

/// The part of a run that was read.
#[derive(Debug)]
struct ReadPart {
    seq: u64,
    files: TouchedFiles,
}

impl UnsealedFiles {
    /// Whether the run names a file; `path` is a searched path. Blocking.
    pub(crate) fn name(&self, history: &History, run: &Run, path: &str) -> Result<bool, HistoryError> {
        if !run.has_transcript {
            return Ok(false);
        }
        let mut parts = self.0.lock();
        let part = parts.entry(run.id).or_insert_with(|| ReadPart { seq: 0, files: TouchedFiles::new(&run.cwd) });
        let mut reader = ForwardReader::new(run.id, part.seq);
        let mut lines = Vec::new();
        while part.seq < run.last_seq {
            lines.clear();
            if reader.read(history, READ_BLOCK_BYTES, &mut lines)? == ReadOutcome::Nothing {
                break;
            }
            part.files.take_lines(&lines);
            part.seq = reader.seq();
        }
        Ok(part.files.contains(path))
    }

    /// Forgets the runs that are sealed by now, or deleted.
    pub(crate) fn forget_sealed(&self, history: &History) {
        self.0.lock().retain(|id, _| history.dir(*id).is_there());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines_of(updates: &[Value]) -> Vec<u8> {
        let run = RunId::new();
        let line = |(number, update): (usize, &Value)| {
            format!("{}\n", json!({ "kind": "update", "runId": run, "seq": number + 1, "at": 1, "update": update }))
        };
        updates.iter().enumerate().map(line).collect::<String>().into_bytes()
    }

    #[test]
    fn locations_diffs_and_patches_name_files() {
        let updates = [
            json!({ "sessionUpdate": "tool_call", "toolCallId": "1", "locations": [{ "path": "/w/src/a.rs" }, { "path": "/etc/hosts" }] }),
            json!({ "sessionUpdate": "tool_call_update", "toolCallId": "1",
                "content": [{ "type": "diff", "path": "file:///w/b%20b", "newText": "x" }, { "type": "content", "path": "/w/no" }] }),
            json!({ "sessionUpdate": "tool_call_update", "toolCallId": "1",
                "_meta": { "loomd/patch": "--- a/c\n+++ b/c\n@@ -1 +1 @@\n-x\n+y\n" } }),
            json!({ "sessionUpdate": "agent_message_chunk", "content": { "type": "text", "text": "\"path\"" }, "locations": [{ "path": "/w/no" }] }),
        ];
        let found = TouchedFiles::of_lines("/w", &lines_of(&updates));
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["/etc/hosts", "/w/b b", "/w/c", "/w/src/a.rs", "b b", "c", "src/a.rs"]);
    }

    #[test]
    fn a_run_is_found_by_a_bounded_number_of_files() {
        let locations: Vec<Value> = (0..3 * MAX_FILES).map(|number| json!({ "path": format!("/w/{number}") })).collect();
        let update = json!({ "sessionUpdate": "tool_call", "toolCallId": "1", "locations": locations });
        assert_eq!(TouchedFiles::of_lines("/w", &lines_of(&[update])).len(), 2 * MAX_FILES);
    }

    #[test]
    fn a_searched_path_is_absolute_or_relative() {
        let searched = |path| searched_path(path);
        assert_eq!(searched("/w/./src/../a").as_deref(), Some("/w/a"));
        assert_eq!(searched("./src//a").as_deref(), Some("src/a"));
        assert_eq!((searched(""), searched("."), searched("/")), (None, None, None));
    }
}
