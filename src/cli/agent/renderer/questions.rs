//! Questions and what was answered.

use super::{ERROR_STYLE, LastPrinted, Renderer, SUCCESS_STYLE};
use crate::{
    cli::agent::permission_prompt::PermissionPrompt,
    model::{
        entry::ResolvedBy,
        item::{PermissionItem, PermissionResolution},
    },
};

impl Renderer {
    pub(super) fn permission(&mut self, permission: &PermissionItem) {
        let known = self.requests.iter().position(|request| request.id() == permission.permission_id);
        match (&permission.resolved, known) {
            (None, None) => {
                self.requests.push(PermissionPrompt::new(permission.clone()));
                // One that comes while the run waits already is shown at once.
                self.state.into_iter().for_each(|state| self.set_state(state));
            }
            (None, Some(_)) => {}
            (Some(resolved), known) => {
                let request = known.map_or_else(|| PermissionPrompt::new(permission.clone()), |at| self.requests.remove(at));
                self.resolved(request, resolved);
            }
        }
    }

    /// Shows a question, at most so many lines of it. Shows what follows when it is called again.
    pub(crate) fn ask(&mut self, id: &str, max_lines: usize) {
        // `--quiet` in a pipe prints the agent's messages only. `Interactive` then says on stderr how to answer.
        if self.options.quiet && self.options.columns.is_none() {
            return;
        }
        let Some(at) = self.requests.iter().position(|request| request.id() == id) else { return };
        let is_new = !self.requests[at].is_shown();
        let text = self.requests[at].next_lines(max_lines, &self.cwd, self.options.styles, self.options.columns);
        if text.is_empty() {
            return;
        }
        if is_new {
            self.end_thought();
            self.begin_message(0);
        } else {
            self.begin_line(0);
        }
        self.rendered.push_str(&text);
        self.last = LastPrinted::Line;
    }

    fn resolved(&mut self, request: PermissionPrompt, resolved: &PermissionResolution) {
        let option = resolved.option_id.as_deref().map(|id| request.option_name(id));
        let is_allowed = resolved.option_id.as_deref().is_some_and(|id| request.is_allowing(id));
        let styles = self.options.styles;
        let mark = if is_allowed { styles.apply(SUCCESS_STYLE, "✓") } else { styles.apply(ERROR_STYLE, "✗") };
        let is_ours = self.answered.iter().any(|id| id == request.id());
        let line = match (option, resolved.by) {
            (_, ResolvedBy::Policy) if is_allowed => return,
            (_, ResolvedBy::Policy) => format!("{mark} Denied by the permission mode: {}", request.title()),
            (Some(option), _) if is_ours || self.answered.is_empty() && self.options.columns.is_none() => format!("{mark} {option}"),
            (Some(option), _) => format!("{mark} {option} {}", styles.dim("(answered elsewhere)")),
            (None, ResolvedBy::Provider) => styles.dim("· Request withdrawn by the agent"),
            (None, ResolvedBy::Client) => styles.dim("· Request dismissed"),
        };
        if self.options.quiet && (resolved.by == ResolvedBy::Policy || !request.is_shown()) {
            return;
        }
        // What a person answered before this began is shown with its answer.
        if resolved.by != ResolvedBy::Policy && !request.is_shown() {
            let id = request.id().to_owned();
            self.requests.push(request);
            self.ask(&id, usize::MAX);
            self.requests.pop();
        }
        self.line(0, &line);
    }
}
