//! The open requests of a connection. Each is answered exactly once: by its handler, or by its cancellation.

use parking_lot::Mutex;
use std::{
    collections::HashMap,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::Serialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::outgoing::Outgoing;
use crate::model::{Failure, calls::ErrorData};

type Continuation = Box<dyn FnOnce() + Send>;

/// What a handler can learn about its request, and do for it.
#[derive(Clone, Default)]
pub(crate) struct RequestContext {
    /// Fires when the client cancels the request. The request has been answered by then, but the handler may go on.
    pub(crate) cancel: CancellationToken,
    pub(crate) after: AfterAnswer,
}

/// Work that runs after the request's answer.
#[derive(Clone, Default)]
pub(crate) struct AfterAnswer(Arc<Mutex<Vec<Continuation>>>);

/// A request whose handler runs.
pub(super) struct OpenRequest {
    /// The id as the client wrote it.
    id: Box<RawValue>,
    key: Option<IdKey>,
    answered: AtomicBool,
    pub(crate) context: RequestContext,
    slot: ReplySlot,
}

/// Where the answer to a request goes.
pub(super) enum ReplySlot {
    Alone,
    /// Into the answer of a batch, at this index.
    Batch(Arc<Batch>, usize),
}

/// A batch. Its answer is sent when all its members have been answered.
pub(super) struct Batch(Mutex<BatchState>);

struct BatchState {
    answers: Vec<Vec<u8>>,
    missing: usize,
    after: Vec<Continuation>,
}

/// The open requests of a connection, by id.
pub(super) struct InFlight {
    outgoing: Outgoing,
    error_code: fn(&Failure) -> i32,
    requests: Mutex<HashMap<IdKey, Arc<OpenRequest>>>,
}

/// An id for comparison: numbers by their text, strings with their escapes decoded.
#[derive(Clone, PartialEq, Eq, Hash)]
enum IdKey {
    Number(String),
    Text(String),
}

impl AfterAnswer {
    /// Runs `work` as soon as the request's answer, or that of its batch, has been passed to [`Outgoing`], before any
    /// other task of the connection runs. If the request was canceled, `work` runs when its handler ends. A handler
    /// that panics loses it.
    pub(crate) fn run(&self, work: impl FnOnce() + Send + 'static) {
        self.0.lock().push(Box::new(work));
    }

    fn take(&self) -> Vec<Continuation> {
        mem::take(&mut self.0.lock())
    }
}

impl InFlight {
    pub(crate) fn new(outgoing: Outgoing, error_code: fn(&Failure) -> i32) -> Self {
        Self { outgoing, error_code, requests: Mutex::default() }
    }

    /// Registers a request. `None`: another open request has the same id, so this one has been answered with an error.
    pub(crate) fn begin(&self, id: &RawValue, slot: ReplySlot) -> Option<Arc<OpenRequest>> {
        let key = IdKey::of(id);
        let pending =
            OpenRequest { id: id.to_owned(), key: key.clone(), answered: AtomicBool::new(false), context: RequestContext::default(), slot };
        let pending = Arc::new(pending);
        if let Some(key) = key {
            let mut requests = self.requests();
            if requests.contains_key(&key) {
                drop(requests);
                let failure = Failure::invalid_request("a request with this id has not been answered yet");
                self.send_error(Some(id), &failure, &pending.slot);
                return None;
            }
            requests.insert(key, pending.clone());
        }
        Some(pending)
    }

    /// Sends the handler's answer, unless the request was canceled, and runs the work for after the answer. `None`: the
    /// handler panicked, and its work is lost.
    pub(crate) fn finish(&self, pending: &Arc<OpenRequest>, outcome: Option<Result<Vec<u8>, Failure>>) {
        let work = if outcome.is_some() { pending.context.after.take() } else { Vec::new() };
        let outcome = outcome.unwrap_or_else(|| {
            Err(Failure::internal("the server failed on this request, which is a bug in loomd; the log has the details"))
        });
        if self.mark_answered(pending) {
            return run(self.deliver_then(&pending.slot, Response::of(Some(&pending.id), outcome, self.error_code), work));
        }
        run(match &pending.slot {
            ReplySlot::Alone => work,
            ReplySlot::Batch(batch, _) => batch.after(work),
        });
    }

    /// Answers the open request with this id with `cancelled`, and fires its handler's token. An unknown id is ignored.
    pub(crate) fn cancel(&self, id: &RawValue) {
        let pending = IdKey::of(id).and_then(|key| self.requests().get(&key).cloned());
        let Some(pending) = pending else { return };
        if self.mark_answered(&pending) {
            self.send_error(Some(&pending.id), &Failure::cancelled(), &pending.slot);
        }
        pending.context.cancel.cancel();
    }

    /// Sends an error answer. An absent id is null.
    pub(crate) fn send_error(&self, id: Option<&RawValue>, failure: &Failure, slot: &ReplySlot) {
        run(self.deliver_then(slot, Response::of(id, Err(failure.clone()), self.error_code), Vec::new()));
    }

    /// Closes a request. Returns false if it was answered before.
    fn mark_answered(&self, pending: &Arc<OpenRequest>) -> bool {
        if pending.answered.swap(true, Ordering::AcqRel) {
            return false;
        }
        if let Some(key) = &pending.key {
            self.requests().remove(key);
        }
        true
    }

    /// Sends an answer and returns the work that may run now: that of the request, or that of a batch which is
    /// complete.
    fn deliver_then(&self, slot: &ReplySlot, answer: Response, work: Vec<Continuation>) -> Vec<Continuation> {
        match slot {
            ReplySlot::Alone => {
                self.outgoing.control_in_parts(answer.head.as_bytes(), answer.body, Response::TAIL);
                work
            }
            ReplySlot::Batch(batch, index) => batch.put(*index, answer.joined(), work, &self.outgoing),
        }
    }

    fn requests(&self) -> parking_lot::MutexGuard<'_, HashMap<IdKey, Arc<OpenRequest>>> {
        self.requests.lock()
    }
}

/// An answer in the parts in which it is sent, so that a large result is not copied only to put an id before it.
struct Response {
    /// The id, and the name of the last member.
    head: String,
    /// The result or the error.
    body: Vec<u8>,
}

/// The member `error` of an answer.
#[derive(Serialize)]
struct ErrorObject {
    code: i32,
    message: String,
    data: ErrorData,
}

impl Response {
    const TAIL: &[u8] = b"}";

    fn of(id: Option<&RawValue>, outcome: Result<Vec<u8>, Failure>, error_code: fn(&Failure) -> i32) -> Self {
        let (member, body) = match outcome {
            Ok(result) => ("result", result),
            Err(failure) => ("error", error_object(error_code(&failure), failure)),
        };
        Self { head: format!(r#"{{"jsonrpc":"2.0","id":{},"{member}":"#, id.unwrap_or(RawValue::NULL).get()), body }
    }

    fn joined(self) -> Vec<u8> {
        [self.head.as_bytes(), &self.body, Self::TAIL].concat()
    }
}

fn error_object(code: i32, Failure { kind, message, data }: Failure) -> Vec<u8> {
    let error = ErrorObject { code, message, data: ErrorData { kind, more: data } };
    serde_json::to_vec(&error).expect("texts and numbers always have a JSON form")
}

impl Batch {
    pub(crate) fn new(answers: usize) -> Self {
        Self(Mutex::new(BatchState { answers: vec![Vec::new(); answers], missing: answers, after: Vec::new() }))
    }

    fn put(&self, index: usize, answer: Vec<u8>, work: Vec<Continuation>, outgoing: &Outgoing) -> Vec<Continuation> {
        let mut state = self.0.lock();
        state.answers[index] = answer;
        state.missing -= 1;
        state.after.extend(work);
        if state.missing > 0 {
            return Vec::new();
        }
        let mut whole = vec![b'['];
        whole.append(&mut mem::take(&mut state.answers).join(&b','));
        whole.push(b']');
        outgoing.control(whole);
        mem::take(&mut state.after)
    }

    /// Adds work for after the batch's answer. Returns the work that may run now: all of it, if the answer has been
    /// sent.
    fn after(&self, work: Vec<Continuation>) -> Vec<Continuation> {
        let mut state = self.0.lock();
        if state.missing == 0 {
            return work;
        }
        state.after.extend(work);
        Vec::new()
    }
}

impl IdKey {
    /// `None` for null, which identifies no request.
    fn of(id: &RawValue) -> Option<Self> {
        match serde_json::from_str::<String>(id.get()) {
            Ok(text) => Some(Self::Text(text)),
            Err(_) if id.get() == "null" => None,
            Err(_) => Some(Self::Number(id.get().to_owned())),
        }
    }
}

fn run(work: Vec<Continuation>) {
    for work in work {
        // The panic hook has logged the panic; it must not end the connection.
        catch_unwind(AssertUnwindSafe(work)).ok();
    }
}
