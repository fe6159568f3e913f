//! The session of a plain tool: announced once, kept once.

use std::time::Duration;

use crate::provider::out::Out;

/// A session as far as the program's output tells of it.
#[derive(Debug, Default)]
pub struct KeptSession {
    id: Option<String>,
    is_kept: bool,
    is_waited_for: bool,
}

/// Between the first word of the agent's and the session being kept.
const UNTIL_KEPT: Duration = Duration::from_millis(250);

impl KeptSession {
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub fn announced(&mut self, id: &str, out: &mut Out) {
        if self.id.is_none() {
            self.id = Some(id.to_owned());
            out.session(id, None, false);
        }
    }

    /// It can be gone on with from now on.
    pub fn kept(&mut self, out: &mut Out) {
        if let Some(id) = self.id.as_deref().filter(|_| !self.is_kept) {
            self.is_kept = true;
            out.session(id, None, true);
        }
    }

    /// It will be kept a little later.
    pub fn kept_soon(&mut self, out: &mut Out) {
        if !std::mem::replace(&mut self.is_waited_for, true) {
            out.wake(UNTIL_KEPT, 1);
        }
    }
}
