//! Permission requests: the client is asked what the agent asks, and its answer counts if it is the first.
//!
//! A client that dismisses a question answers nothing: the question stays open for every other client, and is asked again
//! when the session is loaded.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    front_end::FrontEnd,
    session::{AcpSession, loomd_meta},
};
use crate::model::{
    FailureKind,
    calls::AnswerParams,
    entry::{PermissionEntry, PermissionStatus},
    methods::RunAnswer,
};

/// The result of `session/request_permission`.
#[derive(Deserialize)]
struct PermissionResult {
    outcome: PermissionOutcome,
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case", rename_all_fields = "camelCase")]
enum PermissionOutcome {
    Selected { option_id: String },
    Cancelled,
}

impl FrontEnd {
    /// Asks the client for an answer to an open permission request.
    pub(super) fn ask(&self, session: &AcpSession, question: &PermissionEntry) {
        let PermissionStatus::Requested { tool_call, options } = &question.status else { return };
        let number = {
            let mut count = self.question_count.lock();
            *count += 1;
            *count
        };
        self.open_questions.lock().insert(number, (session.id, question.permission_id.clone()));
        let tool_call = {
            let mut state = session.state();
            state.asked.insert(question.permission_id.clone(), number);
            state.translator.as_ref().map_or_else(|| tool_call.clone(), |translator| translator.tool_call(tool_call.clone()))
        };
        let params = json!({ "sessionId": session.id, "toolCall": tool_call, "options": options,
            "_meta": loomd_meta(question.run_id, question.seq) });
        let request = json!({ "jsonrpc": "2.0", "id": number, "method": "session/request_permission", "params": params });
        self.out.control(request.to_string().into_bytes());
    }

    /// Tells the client that it need not answer any more.
    pub(super) fn withdraw(&self, number: u64) {
        if self.open_questions.lock().remove(&number).is_some() {
            self.notify("$/cancel_request", &json!({ "requestId": number }));
        }
    }

    /// Takes the client's answer to a request of ours.
    pub(super) fn take_answer(self: &Arc<Self>, id: &RawValue, outcome: Result<&RawValue, &RawValue>) {
        let Ok(number) = serde_json::from_str::<u64>(id.get()) else { return };
        let Some((session, permission_id)) = self.open_questions.lock().remove(&number) else { return };
        let Ok(session) = self.session(session) else { return };
        let result = outcome.ok().and_then(|result| serde_json::from_str::<PermissionResult>(result.get()).ok());
        let (Some(PermissionResult { outcome: PermissionOutcome::Selected { option_id } }), Some(run)) = (result, session.run()) else {
            session.state().asked.remove(&permission_id);
            return;
        };
        let params = AnswerParams {
            run_id: run.id,
            permission_id: permission_id.clone(),
            option_id: Some(option_id),
            cancelled: None,
            message: None,
        };
        let front_end = Arc::clone(self);
        tokio::spawn(async move {
            let answered = front_end.call(RunAnswer, params).await;
            session.state().asked.remove(&permission_id);
            match answered {
                Ok(_) => {}
                // Another client was first, and the log has told so.
                Err(failure) if failure.kind == FailureKind::PermissionResolved => {}
                Err(failure) => tracing::error!(%failure, "the client's answer to a permission request was not accepted"),
            }
        });
    }
}
