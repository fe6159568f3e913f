//! A run, as clients receive it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{
    UnixMs,
    agent::{AgentOffer, OFFER_UPDATES},
    entry::{Entry, PermissionEntry, PermissionStatus, Stream, open_object},
    provider::Session,
    state::{RunBytes, RunError, RunId, RunState, TerminalSize, Usage},
};

/// A run: its description, and its state as of the entry `lastSeq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct Run {
    /// Its identifier; ids sort by time of creation.
    pub id: RunId,
    /// The provider, as `run/start` named it.
    pub provider: String,
    /// What the agent offers, as far as it has said so. Changes of it come as `run/changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentOffer>,
    /// A line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The title, else what a person would call the run: the first line of its prompt, else its command line.
    #[serde(default)]
    pub display_title: String,
    /// Whether its provider tells what its output means. The transcript of any other run is its output. Known from the start on.
    #[serde(default)]
    pub has_transcript: bool,
    /// Labels by which clients find the run.
    pub labels: BTreeMap<String, String>,
    /// A pinned run is never pruned.
    pub pinned: bool,
    /// The params of the `run/start` that started it, for a rerun. `envNames` replaces `env`, whose values are never
    /// stored. `stdinBytes` replaces a `stdin` of more than 1 MiB.
    #[schemars(schema_with = "open_object")]
    pub params: Map<String, Value>,
    /// The size of its terminal, if it runs in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<TerminalSize>,
    /// Whether a notifier is started when it waits for an answer or ends and nobody who can answer is attached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notify: bool,
    /// The argv that was executed.
    pub command: Vec<String>,
    /// Where it was executed, as `run/start` named it, but without `.`, double slashes and a slash at the end.
    pub cwd: String,
    /// The state of the run.
    pub state: RunState,
    /// The newest turn: 1, 2, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<u64>,
    /// Prompts that wait for their turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<u64>,
    /// Process id of the program, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The open permission requests: the `requested` entries that nobody has answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<PermissionEntry>,
    /// The program's exit code, if it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the program, by name (`SIGKILL`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Why the run failed; of a live run, what delays it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    /// The session of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// The run that this one resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_run_id: Option<RunId>,
    /// The runs in whose process trees it was started, the innermost first. It ends with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enclosing_run_ids: Vec<RunId>,
    /// When `run/start` came, Unix milliseconds.
    pub created_at: UnixMs,
    /// When the program was spawned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<UnixMs>,
    /// When the run became final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<UnixMs>,
    /// The newest entry that is included here.
    pub last_seq: u64,
    /// Everything up to this entry would survive a power cut.
    pub durable_seq: u64,
    /// How much the program has written.
    pub bytes: RunBytes,
    /// The newest file of the log, while the log is in files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcript: Option<String>,
    /// Usage of all its turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// When a client took its session over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_over_at: Option<UnixMs>,
}

/// Length of a title that was taken from a prompt or command.
const MAX_DISPLAY_TITLE_CHARS: usize = 120;

impl Serialize for Run {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// What follows from other members is derived here, so that records of earlier versions have it too.
impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut run = Self::deserialize(deserializer)?;
        if run.display_title.is_empty() {
            // Before the member was stored, a run had updates if it was given a prompt or a session, or no argv.
            let is_agent = run.params.contains_key("prompt") || run.params.contains_key("resume") || run.session.is_some();
            let has_argv = run.params.contains_key("command") || run.provider == "command";
            run.has_transcript = is_agent || run.provider == "acp" || !has_argv;
            run.name();
        }
        Ok(run)
    }
}

impl Run {
    /// A run that is about to be started.
    pub(crate) fn new(id: RunId, provider: &str, command: Vec<String>, cwd: &str, created_at: UnixMs) -> Self {
        Self {
            id,
            provider: provider.to_owned(),
            title: None,
            display_title: String::new(),
            has_transcript: false,
            labels: BTreeMap::new(),
            pinned: false,
            params: Map::new(),
            tty: None,
            notify: false,
            command,
            cwd: cwd.to_owned(),
            state: RunState::Starting,
            turn: None,
            queued: None,
            pid: None,
            permissions: Vec::new(),
            exit_code: None,
            signal: None,
            error: None,
            session: None,
            parent_run_id: None,
            enclosing_run_ids: Vec::new(),
            created_at,
            started_at: None,
            ended_at: None,
            last_seq: 0,
            durable_seq: 0,
            bytes: RunBytes::default(),
            transcript: None,
            usage: None,
            taken_over_at: None,
            agent: None,
        }
    }

    /// Sets the title for display. To be called after a change of what it is made of.
    pub(crate) fn name(&mut self) {
        let title = self.title.clone().filter(|title| !title.trim().is_empty());
        let prompt = || first_line(&prompt_text(self.params.get("prompt")?));
        let command = || match self.has_transcript {
            // The command line of an agent does not describe the conversation.
            true => Some("(no prompt)".to_owned()),
            false => first_line(&command_text(&self.command)),
        };
        self.display_title = title.or_else(prompt).or_else(command).unwrap_or_else(|| self.provider.clone());
    }

    /// Changes what people may change. `None` leaves a member as it is.
    pub(crate) fn edit(&mut self, title: Option<String>, labels: Option<BTreeMap<String, String>>, pinned: Option<bool>) {
        self.title = title.or(self.title.take());
        self.labels = labels.unwrap_or_else(|| std::mem::take(&mut self.labels));
        self.pinned = pinned.unwrap_or(self.pinned);
        self.name();
    }

    /// Takes over what people have changed in another copy of the run.
    pub(crate) fn take_edits(&mut self, edited: Self) {
        (self.title, self.labels, self.pinned) = (edited.title, edited.labels, edited.pinned);
        self.name();
    }

    /// Applies the next entry of the log. Only this function derives state from entries, so a server, a supervisor and
    /// a reader of a dead run's log agree.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        self.last_seq = entry.seq();
        match entry {
            Entry::Output(entry) => {
                let end = entry.offset + entry.raw_len();
                match entry.stream {
                    Stream::Stdout => self.bytes.stdout = end,
                    Stream::Stderr => self.bytes.stderr = end,
                }
            }
            Entry::Update(entry) => self.apply_update(&entry.update),
            Entry::Size(entry) => self.tty = Some(entry.size),
            Entry::Session(entry) => self.session = Some(entry.session.clone()),
            Entry::Permission(entry) => match entry.status {
                PermissionStatus::Requested { .. } => self.permissions.push(entry.clone()),
                PermissionStatus::Resolved { .. } => {
                    self.permissions.retain(|open| open.permission_id != entry.permission_id);
                }
            },
            Entry::State(entry) => {
                self.state = entry.state;
                self.turn = entry.turn.or(self.turn);
                self.error = entry.error.clone();
                if entry.state == RunState::Running {
                    self.started_at = self.started_at.or(Some(entry.at));
                }
                if let Some(usage) = &entry.usage {
                    self.usage.get_or_insert_default().add(usage);
                }
                if entry.state.is_final() {
                    self.ended_at = Some(entry.at);
                    self.exit_code = entry.exit_code;
                    self.signal = entry.signal.clone();
                    self.pid = None;
                    self.queued = None;
                    self.permissions.clear();
                    self.agent.iter_mut().for_each(AgentOffer::end);
                }
            }
        }
    }
}

impl Run {
    /// Takes what an update says of what the agent offers. A sub-agent's says nothing of the agent.
    fn apply_update(&mut self, update: &Map<String, Value>) {
        let is_offer = update.get("sessionUpdate").and_then(Value::as_str).is_some_and(|kind| OFFER_UPDATES.contains(&kind));
        if is_offer && update.get("_meta").is_none_or(|meta| meta.get("loomd/parentToolCallId").is_none()) {
            self.agent.get_or_insert_default().apply(update);
        }
    }
}

/// An absolute path without double slashes, without `.` and without a slash at the end, so that two spellings of a
/// directory become one. `..` and links stay, because only the file system can resolve them. A relative path stays as
/// it is.
pub(crate) fn normalize_directory(path: &str) -> String {
    if !path.starts_with('/') {
        return path.to_owned();
    }
    let names: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    format!("/{}", names.join("/"))
}

/// The text of a prompt, which is a string or a list of content blocks.
fn prompt_text(prompt: &Value) -> String {
    let texts = prompt.as_array().into_iter().flatten().filter_map(|block| block["text"].as_str());
    prompt.as_str().map_or_else(|| texts.collect::<Vec<_>>().join("\n"), str::to_owned)
}

/// A command line for display; of `sh -c SCRIPT` only the script.
fn command_text(command: &[String]) -> String {
    match command {
        [shell, option, script] if option == "-c" && shell.ends_with("sh") => script.clone(),
        _ => command.join(" "),
    }
}

/// The first line with something in it, shortened.
fn first_line(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let end = line.char_indices().nth(MAX_DISPLAY_TITLE_CHARS);
    Some(end.map_or_else(|| line.to_owned(), |(end, _)| format!("{}…", &line[..end])))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The run as a client gets it.
    fn with(provider: &str, command: &[&str], more: Value) -> Run {
        let run = Run::new(RunId::new(), provider, command.iter().map(|word| (*word).to_owned()).collect(), "/", 1);
        let mut record = serde_json::to_value(run).expect("a run is JSON");
        record.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        serde_json::from_value(record).expect("a run")
    }

    #[test]
    fn every_run_has_a_title_for_display() {
        let title = |provider, command: &[&str], more| with(provider, command, more).display_title;
        assert_eq!(title("codex", &["codex"], json!({ "title": "T", "params": { "prompt": "p" } })), "T");
        assert_eq!(title("codex", &["codex"], json!({ "title": " ", "params": { "prompt": "\n  first \nsecond" } })), "first");
        let blocks = json!([{ "type": "image", "data": "" }, { "type": "text", "text": "look" }]);
        assert_eq!(title("codex", &["codex"], json!({ "params": { "prompt": blocks } })), "look");
        assert_eq!(title("codex", &["codex", "app-server"], json!({ "params": {} })), "(no prompt)");
        assert_eq!(title("command", &["make", "all"], json!({})), "make all");
        assert_eq!(title("command", &["/bin/bash", "-c", "set -e\nmake"], json!({})), "set -e");
        assert_eq!(title("command", &[""], json!({})), "command");
        let long = title("codex", &["codex"], json!({ "params": { "prompt": "ä".repeat(500) } }));
        assert_eq!(long, format!("{}…", "ä".repeat(120)));
    }

    #[test]
    fn an_edit_changes_the_title_for_display() {
        let mut run = with("command", &["make"], json!({}));
        run.edit(Some("build".to_owned()), None, Some(true));
        assert_eq!((run.display_title.as_str(), run.pinned), ("build", true));
    }

    /// Records of earlier versions lack the member.
    #[test]
    fn a_record_without_the_member_still_tells_whether_there_is_a_transcript() {
        assert!(with("codex", &["codex"], json!({})).has_transcript);
        assert!(with("acp", &["x"], json!({ "params": { "command": ["x"] } })).has_transcript);
        assert!(with("command", &["x"], json!({ "params": { "command": ["x"], "prompt": "p" } })).has_transcript);
        assert!(!with("command", &["x"], json!({ "params": { "command": ["x"] } })).has_transcript);
        let stored = json!({ "displayTitle": "x", "hasTranscript": false });
        assert!(!with("codex", &["codex"], stored).has_transcript, "a stored one is not guessed");
    }

    #[test]
    fn spellings_of_one_path_become_one() {
        for path in ["/x/w1", "/x/w1/", "/x/./w1", "//x//w1//", "/x/w1/."] {
            assert_eq!(normalize_directory(path), "/x/w1");
        }
        assert_eq!(["", "x/", "./x"].map(normalize_directory), ["", "x/", "./x"], "no absolute ones");
        assert_eq!(["/", "//", "/."].map(normalize_directory), ["/", "/", "/"]);
        assert_eq!(["/x/../w", "/x/ /...", "/x/w/.."].map(normalize_directory), ["/x/../w", "/x/ /...", "/x/w/.."]);
    }
}
