//! What a tool call asks for: its command, its files, and whether there is anything else in it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{command::AskedCommand, path::resolve};
use crate::{
    model::{calls::ChangeKind, item::FileDiff},
    transcript::patch,
};

/// Members of a tool call whose content is known here. Whatever else an agent says is something that no rule has named.
const KNOWN_MEMBERS: &[&str] = &["toolCallId", "title", "kind", "status", "rawInput", "rawOutput", "locations", "content", "_meta"];
/// Members of `rawInput` that name a file or folder, or several.
const PATH_MEMBERS: &[&str] = &[
    "abs_path",
    "absolute_path",
    "absolutePath",
    "destination",
    "dir_path",
    "directory",
    "file",
    "file_path",
    "filePath",
    "filename",
    "fileName",
    "files",
    "folder",
    "from",
    "grantRoot",
    "new_path",
    "newPath",
    "notebook_path",
    "old_path",
    "oldPath",
    "path",
    "paths",
    "source",
    "target_file",
    "targetFile",
    "to",
];
/// Members of `rawInput` that say how the text of a file changes, where the diff does not say all of it.
const EDIT_MEMBERS: &[&str] = &["edits", "replace_all", "replaceAll", "changes"];

/// The tool call of a permission request, read for rules.
pub(super) struct RequestedCall<'a> {
    pub(super) kind: &'a str,
    tool_call: &'a Map<String, Value>,
    /// Where the run works, and the folder from which the call's relative paths are meant.
    cwd: &'a Path,
    folder: PathBuf,
    diffs: Vec<FileDiff>,
    /// The paths as they are named.
    named_paths: BTreeSet<String>,
    /// A file is named in a way that is not understood.
    has_unknown_path: bool,
}

impl<'a> RequestedCall<'a> {
    /// `cwd`: where the run works.
    pub(super) fn of(tool_call: &'a Map<String, Value>, cwd: &'a Path) -> Self {
        let kind = tool_call.get("kind").and_then(Value::as_str).unwrap_or("other");
        let folders = ["cwd", "workdir"].map(|name| tool_call.get("rawInput").and_then(|input| input.get(name)?.as_str()));
        let mut call = Self {
            kind,
            tool_call,
            cwd,
            folder: folders[0].or(folders[1]).map_or_else(|| cwd.to_owned(), |folder| cwd.join(folder)),
            diffs: Vec::new(),
            named_paths: BTreeSet::new(),
            has_unknown_path: folders[0].is_some() && folders[1].is_some() && folders[0] != folders[1],
        };
        call.read_content();
        call.read_locations();
        call.read_input();
        call
    }

    fn read_content(&mut self) {
        for block in self.list("content") {
            match patch::of_block(block, self.kind) {
                Some(diff) => self.diffs.push(diff),
                None => self.has_unknown_path |= block["type"] == "diff",
            }
        }
        match self.tool_call.get("_meta").and_then(|meta| meta.get("loomd/patch")) {
            None => {}
            Some(Value::String(patch)) => self.diffs.extend(patch::of_patch(patch, "")),
            Some(_) => self.has_unknown_path = true,
        }
        let paths: Vec<String> = self.diffs.iter().map(|diff| diff.path.clone()).filter(|path| !path.is_empty()).collect();
        self.named_paths.extend(paths);
    }

    fn read_locations(&mut self) {
        for location in self.list("locations") {
            match location["path"].as_str() {
                Some(path) => drop(self.named_paths.insert(path.to_owned())),
                None => self.has_unknown_path = true,
            }
        }
    }

    fn read_input(&mut self) {
        for (name, value) in self.input().into_iter().flatten() {
            if PATH_MEMBERS.contains(&name.as_str()) {
                self.add_paths(value);
            } else if name == "changes" || name == "edits" {
                self.add_paths_within(value);
            }
        }
    }

    /// Adds a member that is a path or a list of paths.
    fn add_paths(&mut self, value: &Value) {
        match value {
            Value::Null => {}
            Value::String(path) if !path.is_empty() => drop(self.named_paths.insert(path.clone())),
            Value::Array(values) => values.iter().for_each(|value| match value {
                Value::Object(_) => self.add_paths_within(value),
                value => self.add_paths(value),
            }),
            _ => self.has_unknown_path = true,
        }
    }

    /// Adds the paths in the changes of several files: in a list of them, or in a map by path.
    fn add_paths_within(&mut self, changes: &Value) {
        match changes {
            Value::Array(changes) => changes.iter().for_each(|change| self.add_paths_within(change)),
            Value::Object(members) => {
                for (name, value) in members {
                    if PATH_MEMBERS.contains(&name.as_str()) {
                        self.add_paths(value);
                    } else if name.starts_with('/') {
                        self.named_paths.insert(name.clone());
                        self.add_paths_within(value);
                    }
                }
            }
            _ => {}
        }
    }

    fn list(&self, name: &str) -> &'a [Value] {
        self.tool_call.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn input(&self) -> Option<&'a Map<String, Value>> {
        self.tool_call.get("rawInput").and_then(Value::as_object)
    }

    /// The command, where it is a line or an argv and nothing else.
    pub(super) fn command(&self) -> Option<AskedCommand> {
        match self.input()?.get("command")? {
            Value::String(line) => Some(AskedCommand::Line(line.clone())),
            Value::Array(words) if !words.is_empty() => {
                words.iter().map(|word| word.as_str().map(str::to_owned)).collect::<Option<_>>().map(AskedCommand::Words)
            }
            _ => None,
        }
    }

    /// Every text in which a command may stand, for a deny: also in forms in which no allow would know it.
    pub(super) fn command_texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let mut command = Vec::new();
        match self.tool_call.get("rawInput") {
            Some(Value::Object(members)) => {
                for name in ["command", "cmd", "script", "program", "args", "arguments"] {
                    members.get(name).into_iter().for_each(|value| add_texts(value, &mut command));
                }
            }
            Some(input) if self.kind == "execute" => add_texts(input, &mut command),
            _ => {}
        }
        if !command.is_empty() {
            texts.push(command.join(" "));
        }
        if self.kind == "execute" {
            texts.extend(self.tool_call.get("title").and_then(Value::as_str).map(str::to_owned));
        }
        texts
    }

    /// The files, with links and `..` resolved; `None` if there is none, or if it is not certain which files they are.
    pub(super) fn resolved_paths(&self) -> Option<Vec<PathBuf>> {
        if self.has_unknown_path || self.named_paths.is_empty() {
            return None;
        }
        self.named_paths.iter().map(|path| resolve(&self.folder.join(path)).ok()).collect()
    }

    /// The files in every form in which a deny may name them.
    pub(super) fn all_paths(&self) -> Vec<PathBuf> {
        let absolute = |path: &String| self.folder.join(path);
        self.named_paths.iter().map(absolute).flat_map(|path| [resolve(&path).unwrap_or_else(|_| path.clone()), path]).collect()
    }

    /// Whether a file goes away, or gets another name.
    pub(super) fn removes_files(&self) -> bool {
        let removes = |kind: &str| matches!(kind, "delete" | "move" | "remove" | "rename");
        let change_kind = |change: &Value| change["kind"].as_str().or_else(|| change["type"].as_str()).is_some_and(removes);
        let changes = self.input().and_then(|input| input.get("changes"));
        removes(self.kind)
            || self.diffs.iter().any(|diff| matches!(diff.kind, ChangeKind::Delete | ChangeKind::Move))
            || changes.and_then(Value::as_array).into_iter().flatten().any(change_kind)
            || changes.and_then(Value::as_object).into_iter().flatten().any(|(_, change)| change_kind(change))
    }

    /// Whether more is asked for than a command, or than changes of files: what the run may do from now on, for example.
    pub(super) fn asks_for_more_than_files(&self) -> bool {
        self.input().is_some_and(|input| ["command", "cmd", "grantRoot", "permissions"].iter().any(|name| input.contains_key(*name)))
    }

    /// Whether nothing is asked for but this command and these files. `is_folder`: whether a working directory is one that the rule
    /// is about.
    pub(super) fn asks_only_for(&self, command: bool, paths: bool, is_folder: &dyn Fn(&Path) -> bool) -> bool {
        let has_other_member = self.tool_call.keys().any(|name| !KNOWN_MEMBERS.contains(&name.as_str()));
        if has_other_member || (!paths && !self.diffs.is_empty()) {
            return false;
        }
        let is_part = |(name, value): (&String, &Value)| match (name.as_str(), value) {
            ("command", _) => command,
            ("description", Value::String(_)) | ("timeout", Value::Number(_) | Value::Null) => true,
            ("cwd" | "workdir", Value::Null) => true,
            ("cwd" | "workdir", Value::String(folder)) => resolve(&self.cwd.join(folder)).is_ok_and(|folder| is_folder(&folder)),
            ("grantRoot", _) => false,
            _ => paths && self.is_of_files(name, value),
        };
        match self.tool_call.get("rawInput") {
            None | Some(Value::Null) => true,
            Some(Value::Object(members)) => members.iter().all(is_part),
            Some(_) => false,
        }
    }

    /// Whether a member of `rawInput` says which files, or stands in what changes in them.
    fn is_of_files(&self, name: &str, value: &Value) -> bool {
        let is_in_diff = |value: &str| {
            let of_diff =
                |diff: &FileDiff| [&diff.old_text, &diff.new_text].iter().any(|text| text.as_deref().unwrap_or_default() == value);
            self.diffs.iter().any(of_diff)
        };
        match value {
            _ if PATH_MEMBERS.contains(&name) => true,
            _ if EDIT_MEMBERS.contains(&name) => !self.diffs.is_empty(),
            // A part of a file is less than the file.
            Value::Number(_) => self.kind == "read" && matches!(name, "offset" | "limit" | "line"),
            Value::String(value) => self.named_paths.contains(value) || is_in_diff(value),
            _ => false,
        }
    }
}

/// All strings in a value, in their order.
fn add_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| add_texts(value, texts)),
        Value::Object(members) => members.values().for_each(|value| add_texts(value, texts)),
        _ => {}
    }
}
