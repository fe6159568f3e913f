//! When the session of a run is known, and from when on it can be resumed.

use serde_json::Value;

use crate::provider::event_sink::EventSink;

/// What is known of the run's session. Claude announces its id before its file exists; if Claude is killed in between, the session
/// cannot be resumed.
#[derive(Debug)]
pub(crate) struct ClaudeSession {
    /// The session that the run resumes.
    resumed_id: Option<String>,
    /// The run makes a copy of that session.
    forks: bool,
    id: Option<String>,
    file: SessionFileState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionFileState {
    Absent,
    /// The model answers, so Claude is writing the file.
    BeingWritten,
    Written,
}

impl ClaudeSession {
    pub(crate) fn new(resumed_id: Option<String>, forks: bool) -> Self {
        Self { resumed_id, forks, id: None, file: SessionFileState::Absent }
    }

    /// Takes the session's id from a line. Only the line with which Claude begins may bring another one than was asked
    /// for: hooks and some versions write ids for which there is no session.
    pub(crate) fn take_id(&mut self, line: &Value, out: &mut EventSink) {
        let Some(id) = line["session_id"].as_str().filter(|id| !id.is_empty()) else { return };
        let is_init = line["subtype"] == "init";
        match self.resumed_id.clone().filter(|_| !self.forks) {
            Some(resumed) => self.announce(&resumed, out),
            None if is_init || (self.id.is_none() && !self.forks) => self.announce(id, out),
            None => {}
        }
    }

    /// The program was started. A new session has the id that loomd chose; a resume may still be refused.
    pub(crate) fn start(&mut self, chosen: &str, out: &mut EventSink) {
        if self.resumed_id.is_none() && !chosen.is_empty() {
            self.announce(chosen, out);
        }
    }

    /// Reports the session's id. A resumed session has its file already; a fork is a new session.
    pub(crate) fn announce(&mut self, id: &str, out: &mut EventSink) {
        if self.id.as_deref() == Some(id) {
            return;
        }
        self.file = if self.resumed_id.as_deref() == Some(id) { SessionFileState::Written } else { SessionFileState::Absent };
        self.id = Some(id.to_owned());
        out.session(id, None, self.file == SessionFileState::Written);
    }

    /// Notes that the model answers. `true` means that it is the first answer, so the file will exist after
    /// `SESSION_SAVE_DELAY`.
    pub(crate) fn note_answer(&mut self) -> bool {
        let is_first = self.file == SessionFileState::Absent;
        if is_first {
            self.file = SessionFileState::BeingWritten;
        }
        is_first
    }

    /// Reports that the session can be resumed, if its file was being written.
    pub(crate) fn mark_resumable(&mut self, out: &mut EventSink) {
        if self.file == SessionFileState::BeingWritten {
            self.file = SessionFileState::Written;
            if let Some(id) = &self.id {
                out.session(id, None, true);
            }
        }
    }

    /// The id of a resume that Claude refused. The refusal is an error without a turn that repeats the requested id,
    /// and nothing comes before it.
    pub(crate) fn refused_resume(&self, line: &Value) -> Option<&str> {
        let id = self.resumed_id.as_deref()?;
        let is_refused = line["type"] == "result" && line["is_error"] == true && line["num_turns"] == 0 && line["session_id"] == id;
        (is_refused && self.id.is_none()).then_some(id)
    }
}
