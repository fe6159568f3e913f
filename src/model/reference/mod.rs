//! The table of all methods and notifications: the one source of the JSON Schema and of the protocol reference.
//!
//! What a method does stands here; what its params and results hold stands in the doc comments of their types.
//! A method that is not in the table does not exist: the server takes its list from here.

mod markdown;
mod prose;
mod schema;
mod tables;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{
    calls::{
        AnswerParams, AttachParams, CancelParams, CancelRequestParams, ChangedParams, ChangesResult, ConfigureParams, DeleteResult,
        DeletedParams, EditParams, Empty, ExportParams, ExportResult, InitializeParams, InitializeResult, ListParams, ListResult, Null,
        OptionsParams, OptionsResult, ProvidersResult, PruneParams, PruneResult, ReadParams, ReadResult, RunIdParams, RunResult,
        SearchParams, SearchResult, SendParams, SessionsParams, SessionsResult, StartParams, StatsResult, SyncParams, SyncResult,
        TakeoverParams, TakeoverResult, TextParams, TextResult,
    },
    entry::{Entry, Kind},
    failure::FailureKind,
};

pub use markdown::markdown;
pub use schema::json_schema;

/// A request that a client sends and the server answers.
pub struct Method {
    pub name: &'static str,
    /// Which part of the reference it belongs to.
    pub group: &'static str,
    pub about: &'static str,
    pub params: Shape,
    pub result: Shape,
    /// The failures that are its own, beside those that any request may answer with ([`GENERAL_FAILURES`]).
    pub failures: &'static [FailureKind],
}

/// A message that nobody answers.
pub struct Notification {
    pub name: &'static str,
    pub from: Party,
    pub about: &'static str,
    pub params: Shape,
}

/// Who sends a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    Client,
    Server,
}

/// How a type describes itself to a schema generator.
pub type Shape = fn(&mut SchemaGenerator) -> Schema;

/// Failures that any request may answer with.
pub const GENERAL_FAILURES: &[FailureKind] = &[
    FailureKind::InvalidRequest,
    FailureKind::MethodNotFound,
    FailureKind::InvalidParams,
    FailureKind::Internal,
    FailureKind::NotInitialized,
    FailureKind::Cancelled,
];

const LIFECYCLE: &str = "Lifecycle";
const START: &str = "Starting and steering runs";
const READ: &str = "Reading and following runs";
const STORE: &str = "Providers and the store";

use FailureKind::{
    Config, Limit, PermissionNotFound, PermissionResolved, ProviderNotFound, RunActive, RunNotActive, RunNotFound, SessionBusy,
    SpawnFailed, Store, Unsupported,
};

/// Every request that this build answers, in the order of the reference.
pub const METHODS: &[Method] = &[
    Method {
        name: "initialize",
        group: LIFECYCLE,
        about: "Opens the conversation; nothing else is answered before it. If the answer names another `protocolVersion` than the \
                client's, the client leaves. Broadcasts about runs begin with the answer.",
        params: of::<InitializeParams>,
        result: of::<InitializeResult>,
        failures: &[Config, Store],
    },
    Method {
        name: "shutdown",
        group: LIFECYCLE,
        about: "Ends the conversation. The answer comes when every entry of every finished run is durable; live runs go on. Only the \
                notification `exit` may follow.",
        params: of::<Empty>,
        result: of::<Null>,
        failures: &[Store],
    },
    Method {
        name: "run/start",
        group: START,
        about: "Starts a program. The answer comes once it has been spawned and its record is durable, and before any notification about \
                the run. A program that cannot be started leaves no run behind. The starter is attached from the first entry, unless \
                `attach` says otherwise.",
        params: of::<StartParams>,
        result: of::<RunResult>,
        failures: &[ProviderNotFound, SpawnFailed, SessionBusy, Unsupported, Store],
    },
    Method {
        name: "run/send",
        group: START,
        about: "For an agent: a prompt, for a turn of its own (`queue`, also for a run that is not interactive) or into the running turn \
                (`steer`; as `queue` where none runs or the provider cannot). For `command` the text goes to the stdin of an interactive run as \
                it is; nothing is added, no line feed either.",
        params: of::<SendParams>,
        result: of::<Empty>,
        failures: &[RunNotFound, RunNotActive, Unsupported],
    },
    Method {
        name: "run/closeInput",
        group: START,
        about: "No more input. An agent's run ends when its turn and its queue have; a command's stdin is closed, or gets the end-of-file \
                character where it is a terminal.",
        params: of::<RunIdParams>,
        result: of::<Empty>,
        failures: &[RunNotFound, RunNotActive],
    },
    Method {
        name: "run/interrupt",
        group: START,
        about: "Stops an agent's turn and settles its open questions; session and queue stay. Answered when the turn has ended, at once if none \
                runs. A command's process group gets SIGINT, as from a terminal's Ctrl-C; answered once the program has ended by it, or after a \
                second if it goes on. A run that is not interactive then ends `cancelled`, an agent's after what is still queued.",
        params: of::<RunIdParams>,
        result: of::<Empty>,
        failures: &[RunNotFound],
    },
    Method {
        name: "run/cancel",
        group: START,
        about: "Ends a run: SIGTERM first, and after the grace SIGKILL for the whole tree of processes. The answer comes when the run is \
                final and nothing of its tree is left. A run that has ended is simply answered.",
        params: of::<CancelParams>,
        result: of::<RunResult>,
        failures: &[RunNotFound, Store],
    },
    Method {
        name: "run/answer",
        group: START,
        about: "Answers a permission request of an agent. The first answer counts. A `command` never asks: `unsupported`.",
        params: of::<AnswerParams>,
        result: of::<Empty>,
        failures: &[RunNotFound, RunNotActive, Unsupported, PermissionNotFound, PermissionResolved],
    },
    Method {
        name: "run/configure",
        group: START,
        about: "Sets an agent's model or permissions from its next turn on. A `command` has neither: `unsupported`.",
        params: of::<ConfigureParams>,
        result: of::<RunResult>,
        failures: &[RunNotFound, RunNotActive, Unsupported],
    },
    Method {
        name: "run/takeover",
        group: START,
        about: "Hands over what opens an agent's session in a terminal. A `command` has no session: `unsupported`.",
        params: of::<TakeoverParams>,
        result: of::<TakeoverResult>,
        failures: &[RunNotFound, SessionBusy, Unsupported],
    },
    Method {
        name: "run/get",
        group: READ,
        about: "One run, as it is now. After a final `run/state` the two agree.",
        params: of::<RunIdParams>,
        result: of::<RunResult>,
        failures: &[RunNotFound, Store],
    },
    Method {
        name: "run/list",
        group: READ,
        about: "Runs of this store, newest first, whichever server started them. All filters that are given must hold.",
        params: of::<ListParams>,
        result: of::<ListResult>,
        failures: &[Store],
    },
    Method {
        name: "run/edit",
        group: READ,
        about: "Changes what people say about a run. Members that are absent stay as they are.",
        params: of::<EditParams>,
        result: of::<RunResult>,
        failures: &[RunNotFound, Store],
    },
    Method {
        name: "run/read",
        group: READ,
        about: "A page of the log: forward from `afterSeq`, or backward from `beforeSeq`.",
        params: of::<ReadParams>,
        result: of::<ReadResult>,
        failures: &[RunNotFound, Store],
    },
    Method {
        name: "run/text",
        group: READ,
        about: "A page of output as text: from a byte onward, or the last lines.",
        params: of::<TextParams>,
        result: of::<TextResult>,
        failures: &[RunNotFound, Store],
    },
    Method {
        name: "run/search",
        group: READ,
        about: "Finds lines in the output of all runs or of one, live ones too. Answers within a second with what it has; `nextCursor` goes on \
                from there. See [Searching](#searching).",
        params: of::<SearchParams>,
        result: of::<SearchResult>,
        failures: &[RunNotFound, Store],
    },
    Method {
        name: "run/export",
        group: READ,
        about: "A run as a file that can be read without loomd, live runs as they are now. Without `path` the content is answered, up to \
                32 MiB (`limit`); with it, a run of any size is written. What is wrong with the path is `invalidParams` and leaves no file.",
        params: of::<ExportParams>,
        result: of::<ExportResult>,
        failures: &[RunNotFound, Limit, Store],
    },
    Method {
        name: "run/changes",
        group: READ,
        about: "The files that an agent changed, from what it said of its tool calls.",
        params: of::<RunIdParams>,
        result: of::<ChangesResult>,
        failures: &[RunNotFound, Store],
    },
    Method {
        name: "run/attach",
        group: READ,
        about: "Follows a run: every entry after `afterSeq`, stored and live, comes as a notification, without a gap and without a repeat. \
                Attaching again moves the cursor. An `afterSeq` beyond the end of the log is `invalidParams`.",
        params: of::<AttachParams>,
        result: of::<RunResult>,
        failures: &[RunNotFound, Store],
    },
    Method {
        name: "run/detach",
        group: READ,
        about: "Stops following. A run that this connection does not follow is simply answered.",
        params: of::<RunIdParams>,
        result: of::<Empty>,
        failures: &[RunNotFound],
    },
    Method {
        name: "run/sync",
        group: READ,
        about: "Answers once everything up to `seq` would survive a power cut.",
        params: of::<SyncParams>,
        result: of::<SyncResult>,
        failures: &[RunNotFound, Store],
    },
    Method {
        name: "run/delete",
        group: READ,
        about: "Removes a run and everything that was kept of it. A run that has not ended answers `runActive`.",
        params: of::<RunIdParams>,
        result: of::<DeleteResult>,
        failures: &[RunNotFound, RunActive, Store],
    },
    Method {
        name: "provider/list",
        group: STORE,
        about: "What this server can run, with versions where the provider tells one.",
        params: of::<Empty>,
        result: of::<ProvidersResult>,
        failures: &[Config],
    },
    Method {
        name: "provider/options",
        group: STORE,
        about: "The models and modes that a provider offers, as far as it tells. Starts its program for a moment.",
        params: of::<OptionsParams>,
        result: of::<OptionsResult>,
        failures: &[ProviderNotFound, SpawnFailed, Unsupported],
    },
    Method {
        name: "session/list",
        group: STORE,
        about: "A provider's own sessions, also those made outside of loomd, where it tells of them.",
        params: of::<SessionsParams>,
        result: of::<SessionsResult>,
        failures: &[ProviderNotFound, SpawnFailed, Unsupported],
    },
    Method {
        name: "store/stats",
        group: STORE,
        about: "How much the store holds and what it saved.",
        params: of::<Empty>,
        result: of::<StatsResult>,
        failures: &[Store],
    },
    Method {
        name: "store/prune",
        group: STORE,
        about: "Removes ended runs by age, number and size, and gives the room back if that is worth it and nobody else is at work.",
        params: of::<PruneParams>,
        result: of::<PruneResult>,
        failures: &[Store],
    },
];

/// Every notification, in the order of the reference.
pub const NOTIFICATIONS: &[Notification] = &[
    Notification {
        name: "initialized",
        from: Party::Client,
        about: "The client has taken the answer to `initialize`. Nothing waits for it.",
        params: of::<Empty>,
    },
    Notification {
        name: "exit",
        from: Party::Client,
        about: "The server ends: with 0 after `shutdown`, with 1 without it.",
        params: of::<Empty>,
    },
    Notification {
        name: "$/cancelRequest",
        from: Party::Client,
        about: "Gives up a request that has not been answered: it answers `cancelled`. Nothing is taken back that it began.",
        params: of::<CancelRequestParams>,
    },
    Notification {
        name: "run/output",
        from: Party::Server,
        about: "The program wrote something. For attached connections.",
        params: |generator| entry_of(generator, Kind::Output),
    },
    Notification {
        name: "run/session",
        from: Party::Server,
        about: "The provider's session became known, or more of it. For attached connections and all who watch.",
        params: |generator| entry_of(generator, Kind::Session),
    },
    Notification {
        name: "run/update",
        from: Party::Server,
        about: "What an agent's output means. For attached connections. A `command` has none.",
        params: |generator| entry_of(generator, Kind::Update),
    },
    Notification {
        name: "run/permission",
        from: Party::Server,
        about: "An agent asks for a decision, or a question was settled. For attached connections and all who watch.",
        params: |generator| entry_of(generator, Kind::Permission),
    },
    Notification {
        name: "run/state",
        from: Party::Server,
        about: "The run changed its state. For attached connections and all who watch. A final one is the last entry of the log and comes \
                after the last byte of output.",
        params: |generator| entry_of(generator, Kind::State),
    },
    Notification {
        name: "run/changed",
        from: Party::Server,
        about: "A run is new, was edited, or has trouble with its storage. For all who watch. Not an entry of the log.",
        params: of::<ChangedParams>,
    },
    Notification {
        name: "run/deleted",
        from: Party::Server,
        about: "Runs are gone. For all who watch. Not an entry of the log.",
        params: of::<DeletedParams>,
    },
];

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// One kind of [`Entry`], with its `kind`: the params of the notification that pushes it.
fn entry_of(generator: &mut SchemaGenerator, kind: Kind) -> Schema {
    let position = Kind::ALL.iter().position(|other| *other == kind).expect("every kind is in the list of all");
    let whole = Entry::json_schema(generator);
    let variant = whole.pointer(&format!("/oneOf/{position}")).expect("an entry is one of its kinds");
    Schema::try_from(variant.clone()).expect("a variant is a schema")
}
