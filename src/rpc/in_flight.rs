//! Requests that wait for their answer: each is answered exactly once, by its handler or by its cancellation.

use std::{
    collections::HashMap,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use jsonrpsee::Extensions;
use serde_json::{json, value::RawValue};
use tokio_util::sync::CancellationToken;

use super::outgoing::Outgoing;
use crate::model::Failure;

type Work = Box<dyn FnOnce() + Send>;

/// What a handler knows of the request that it serves; see [`Call::of`].
#[derive(Clone, Default)]
pub struct Call {
    /// Fires when the client cancels the request. The request has been answered then; the handler may go on.
    pub cancel: CancellationToken,
    pub after: AfterAnswer,
}

/// Work for after the request's answer.
#[derive(Clone, Default)]
pub struct AfterAnswer(Arc<Mutex<Vec<Work>>>);

/// A request that is being served.
pub(super) struct Pending {
    /// The client's own spelling.
    id: Box<RawValue>,
    key: Option<IdKey>,
    answered: AtomicBool,
    pub call: Call,
    place: Place,
}

/// Where an answer goes.
pub(super) enum Place {
    Alone,
    /// Into a batch's answer, at this place.
    Batch(Arc<Batch>, usize),
}

/// A batch whose answer goes out when all its members have answered.
pub(super) struct Batch(Mutex<BatchState>);

struct BatchState {
    answers: Vec<Vec<u8>>,
    missing: usize,
    after: Vec<Work>,
}

/// The live requests of a connection, by id.
pub(super) struct InFlight {
    outgoing: Outgoing,
    requests: Mutex<HashMap<IdKey, Arc<Pending>>>,
}

/// An id by its value: numbers by their text, strings without their escapes.
#[derive(Clone, PartialEq, Eq, Hash)]
enum IdKey {
    Number(String),
    Text(String),
}

impl Call {
    /// The call that the connection put into a handler's extensions.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }
}

impl AfterAnswer {
    /// Runs `work` right after the request's answer (in a batch: after the batch's) was handed to the output,
    /// before anything else runs; if the request was cancelled, when its handler ends. A handler that panics loses it.
    pub fn run(&self, work: impl FnOnce() + Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(work));
    }

    fn take(&self) -> Vec<Work> {
        mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl InFlight {
    pub fn new(outgoing: Outgoing) -> Self {
        Self { outgoing, requests: Mutex::default() }
    }

    /// Takes a request in. `None`: a live request has the same id, and this one has been refused.
    pub fn begin(&self, id: &RawValue, place: Place) -> Option<Arc<Pending>> {
        let key = IdKey::of(id);
        let pending = Pending { id: id.to_owned(), key: key.clone(), answered: AtomicBool::new(false), call: Call::default(), place };
        let pending = Arc::new(pending);
        if let Some(key) = key {
            let mut requests = self.requests();
            if requests.contains_key(&key) {
                drop(requests);
                self.deliver(
                    &pending.place,
                    refusal(Some(id), &Failure::invalid_request("a request with this id has not been answered yet")),
                );
                return None;
            }
            requests.insert(key, pending.clone());
        }
        Some(pending)
    }

    /// Gives the handler's answer, unless the request was cancelled, and runs what was to run after it.
    pub fn finish(&self, pending: &Arc<Pending>, answer: Answer) {
        let (message, work) = match &answer {
            Answer::Said(whole) => {
                (spell(&pending.id, whole.strip_prefix(Answer::SAID_BEFORE).unwrap_or_default()), pending.call.after.take())
            }
            Answer::Failed(failure) => (refusal(Some(&pending.id), failure), Vec::new()),
        };
        if self.settle(pending) {
            return run(self.deliver_then(&pending.place, message, work));
        }
        run(match &pending.place {
            Place::Alone => work,
            Place::Batch(batch, _) => batch.after(work),
        });
    }

    /// Answers the request with this id, if it lives, and tells its handler.
    pub fn cancel(&self, id: &RawValue) {
        let pending = IdKey::of(id).and_then(|key| self.requests().get(&key).cloned());
        let Some(pending) = pending else { return };
        if self.settle(&pending) {
            self.deliver(&pending.place, refusal(Some(&pending.id), &Failure::cancelled()));
        }
        pending.call.cancel.cancel();
    }

    /// Sends an answer that belongs to no request that was taken in.
    pub fn refuse(&self, id: Option<&RawValue>, failure: &Failure, place: &Place) {
        self.deliver(place, refusal(id, failure));
    }

    /// Whether the request was open until now.
    fn settle(&self, pending: &Arc<Pending>) -> bool {
        if pending.answered.swap(true, Ordering::AcqRel) {
            return false;
        }
        if let Some(key) = &pending.key {
            self.requests().remove(key);
        }
        true
    }

    fn deliver(&self, place: &Place, answer: Vec<u8>) {
        run(self.deliver_then(place, answer, Vec::new()));
    }

    /// Answers with the work whose time has come.
    fn deliver_then(&self, place: &Place, answer: Vec<u8>, work: Vec<Work>) -> Vec<Work> {
        match place {
            Place::Alone => {
                self.outgoing.control(answer);
                work
            }
            Place::Batch(batch, index) => batch.put(*index, answer, work, &self.outgoing),
        }
    }

    fn requests(&self) -> std::sync::MutexGuard<'_, HashMap<IdKey, Arc<Pending>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a handler ended with.
pub(super) enum Answer {
    /// The answer as jsonrpsee wrote it; it begins with [`Answer::SAID_BEFORE`].
    Said(Box<str>),
    Failed(Failure),
}

impl Answer {
    /// jsonrpsee knows fewer kinds of ids than clients use, so it is given zero and the client's is put in its place.
    pub const SAID_BEFORE: &str = r#"{"jsonrpc":"2.0","id":0,"#;
}

impl Batch {
    pub fn new(answers: usize) -> Self {
        Self(Mutex::new(BatchState { answers: vec![Vec::new(); answers], missing: answers, after: Vec::new() }))
    }

    fn put(&self, index: usize, answer: Vec<u8>, work: Vec<Work>, outgoing: &Outgoing) -> Vec<Work> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// The work that may run now: all, if the batch has been answered.
    fn after(&self, work: Vec<Work>) -> Vec<Work> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.missing == 0 {
            return work;
        }
        state.after.extend(work);
        Vec::new()
    }
}

impl IdKey {
    /// `None` for null, which names nothing.
    fn of(id: &RawValue) -> Option<Self> {
        match serde_json::from_str::<String>(id.get()) {
            Ok(text) => Some(Self::Text(text)),
            Err(_) if id.get() == "null" => None,
            Err(_) => Some(Self::Number(id.get().to_owned())),
        }
    }
}

fn run(work: Vec<Work>) {
    for work in work {
        // The panic hook has told of it; the connection goes on.
        catch_unwind(AssertUnwindSafe(work)).ok();
    }
}

fn spell(id: &RawValue, rest: &str) -> Vec<u8> {
    [r#"{"jsonrpc":"2.0","id":"#, id.get(), ",", rest].concat().into_bytes()
}

fn refusal(id: Option<&RawValue>, failure: &Failure) -> Vec<u8> {
    let error = json!({ "code": failure.code(), "message": failure.message, "data": failure.wire_data() });
    spell(id.unwrap_or(RawValue::NULL), &format!(r#""error":{error}}}"#))
}
