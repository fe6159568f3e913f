//! The known forms of what plain tools print, by name.

use super::{codex_exec::CodexExec, format::Format, gemini::Gemini, opencode::OpenCode};
use crate::provider::task::Task;

/// The names of all forms.
pub const NAMES: &[&str] = &["codex-exec", "gemini", "opencode"];

/// The form of this name.
pub fn named(name: &str, task: &Task) -> Option<Box<dyn Format>> {
    Some(match name {
        "codex-exec" => Box::new(CodexExec::new(task.resume.is_none())),
        "gemini" => Box::new(Gemini::default()),
        "opencode" => Box::new(OpenCode::default()),
        _ => return None,
    })
}
