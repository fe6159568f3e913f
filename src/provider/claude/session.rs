//! The session of a run: its id as soon as it is known, and whether its file is there.
//!
//! The id is announced before the file exists; killed in that gap, a session cannot be resumed.

use serde_json::Value;

use crate::provider::out::Out;

/// What is known of it.
#[derive(Debug)]
pub struct Session {
    /// The one to go on with.
    resumed: Option<String>,
    id: Option<String>,
    kept: Kept,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    No,
    /// The model answers, so it is being written.
    Soon,
    Yes,
}

impl Session {
    pub fn new(resumed: Option<String>) -> Self {
        Self { resumed, id: None, kept: Kept::No }
    }

    /// This is its id. What is gone on with has its file; a fork is a new session.
    pub fn announce(&mut self, id: &str, out: &mut Out) {
        if self.id.as_deref() == Some(id) {
            return;
        }
        self.kept = if self.resumed.as_deref() == Some(id) { Kept::Yes } else { Kept::No };
        self.id = Some(id.to_owned());
        out.session(id, None, self.kept == Kept::Yes);
    }

    /// The model answers. `true`: for the first time, so the file will be there in a moment.
    pub fn answers(&mut self) -> bool {
        let is_first = self.kept == Kept::No;
        if is_first {
            self.kept = Kept::Soon;
        }
        is_first
    }

    /// The moment has passed.
    pub fn is_kept(&mut self, out: &mut Out) {
        if self.kept == Kept::Soon {
            self.kept = Kept::Yes;
            if let Some(id) = &self.id {
                out.session(id, None, true);
            }
        }
    }

    /// A resume that was refused: an error without a turn that repeats the id that was asked for. Claude says nothing else before it.
    pub fn refused(&self, said: &Value) -> Option<&str> {
        let id = self.resumed.as_deref()?;
        let is_refused = said["type"] == "result" && said["is_error"] == true && said["num_turns"] == 0 && said["session_id"] == id;
        (is_refused && self.id.is_none()).then_some(id)
    }
}
