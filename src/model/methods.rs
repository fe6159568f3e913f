//! The one table of methods: name, params, result, failures and description of each.
//!
//! Everything else about methods comes from it: [`METHODS`] for the schema and the reference, a type for each method
//! with which a client calls it ([`Method`]), and [`MethodName`], which the server matches to call a handler. A method
//! that has no handler, or a handler without a method, does not compile.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    FailureKind,
    calls::{
        AddRuleParams, AnswerParams, AttachParams, CancelParams, ChangesResult, ConfigureParams, DeleteResult, EditParams, Empty,
        ExportParams, ExportResult, GetItemParams, GetItemResult, InitializeParams, InitializeResult, ItemsParams, ItemsResult, ListParams,
        ListResult, Null, OptionsParams, OptionsResult, ProvidersResult, PruneParams, PruneResult, QueueResult, QueuedPrompt, ReadParams,
        ReadResult, RemoveRuleParams, RuleResult, RulesResult, RunIdParams, RunResult, SearchParams, SearchResult, SendParams, SendResult,
        SessionsParams, SessionsResult, SetSizeParams, StartParams, StatsResult, SyncParams, SyncResult, TakeoverParams, TakeoverResult,
        TextParams, TextResult, UnqueueParams,
    },
};

/// A request that the server answers.
pub(crate) trait Method: Send + 'static {
    const NAME: MethodName;
    type Params: Serialize + DeserializeOwned + Send + Sync + 'static;
    type Result: Serialize + DeserializeOwned;
}

/// What the schema and the reference say about a method.
pub struct MethodDoc {
    pub name: &'static str,
    /// The heading of the reference under which the method stands.
    pub(crate) group: &'static str,
    /// What the method does, in Markdown.
    pub(crate) description: &'static str,
    pub(crate) params: SchemaFn,
    pub(crate) result: SchemaFn,
    /// The failures of this method. Every request may also answer with [`super::reference::GENERAL_FAILURES`].
    pub(crate) failures: &'static [FailureKind],
}

/// Adds a type to a schema generator and returns the schema that refers to it.
pub(crate) type SchemaFn = fn(&mut SchemaGenerator) -> Schema;

pub(crate) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl MethodName {
    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|method| method.as_str() == name)
    }

    pub(crate) fn as_str(self) -> &'static str {
        METHODS[self as usize].name
    }

    /// Whether the method only reads: it changes no run, no rule and no store, and starts no program. A front end that is
    /// read-only lets these pass. (`run/export` writes a file if its params have a path.)
    #[cfg_attr(not(any(test, feature = "web")), expect(dead_code, reason = "only `loomd web` has a front end that is read-only"))]
    pub(crate) fn only_reads(self) -> bool {
        match self {
            Self::Initialize | Self::Shutdown => true,
            Self::RunGet | Self::RunList | Self::RunRead | Self::RunItems | Self::RunGetItem | Self::RunText | Self::RunSearch => true,
            Self::RunExport | Self::RunChanges | Self::RunQueue | Self::RunAttach | Self::RunDetach | Self::RunSync => true,
            Self::RuleList | Self::StoreStats => true,
            Self::RunStart | Self::RunSend | Self::RunUnqueue | Self::RunSetSize | Self::RunCloseInput | Self::RunInterrupt => false,
            Self::RunCancel | Self::RunAnswer | Self::RunConfigure | Self::RunTakeover | Self::RunEdit | Self::RunDelete => false,
            Self::RuleAdd | Self::RuleRemove | Self::StorePrune => false,
            // They start a provider's program for a moment.
            Self::ProviderList | Self::ProviderOptions | Self::SessionList => false,
        }
    }
}

macro_rules! methods {
    ($($group:literal { $(
        $(#[doc = $description:literal])+
        $method:ident: $name:literal ($params:ty) -> $result:ty, [$($failure:ident),*];
    )+ })+) => {
        /// The methods, in the order of [`METHODS`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum MethodName { $($($method,)+)+ }

        impl MethodName {
            pub(crate) const ALL: &[Self] = &[$($(Self::$method,)+)+];
        }

        /// Every request that this build answers, in the order of the reference.
        pub const METHODS: &[MethodDoc] = &[$($(MethodDoc {
            name: $name,
            group: $group,
            description: concat!($($description),+).trim_ascii_start(),
            params: schema_of::<$params>,
            result: schema_of::<$result>,
            failures: &[$(FailureKind::$failure),*],
        },)+)+];

        $($(
            $(#[doc = $description])+
            pub(crate) struct $method;

            impl Method for $method {
                const NAME: MethodName = MethodName::$method;
                type Params = $params;
                type Result = $result;
            }
        )+)+
    };
}

methods! {
    "Lifecycle" {
        /// Opens the connection. The server answers no other request before it. A client that does not support the
        /// `protocolVersion` of the answer disconnects. Notifications about all runs begin after the answer.
        Initialize: "initialize" (InitializeParams) -> InitializeResult, [Config, Store];
        /// Ends the connection. The server answers once every entry of every finished run is durable. Live runs go on.
        /// The client may send only the notification `exit` after it.
        Shutdown: "shutdown" (Empty) -> Null, [Store];
    }
    "Starting and controlling runs" {
        /// Starts a program. The server answers once the program has been spawned and its record is durable, and before
        /// it sends any notification about the run. A program that cannot be started leaves no run. The client that
        /// starts a run is attached to it from the first entry, unless `attach` says otherwise.
        RunStart: "run/start" (StartParams) -> RunResult, [ProviderNotFound, SpawnFailed, SessionBusy, Unsupported, Store];
        /// For an agent: sends a prompt. `queue` gives it a turn of its own, also in a run that is not interactive.
        /// `steer` puts it into the running turn, or acts as `queue` if no turn runs or the provider cannot steer. For
        /// `command`: writes the text to the stdin of an interactive run as it is, without adding a line feed.
        RunSend: "run/send" (SendParams) -> SendResult, [RunNotFound, RunNotActive, Unsupported, Forbidden];
        /// Lists the prompts that wait for a turn of an agent, as long as its run is live. `Run.queued` counts them, so a client asks
        /// again when that changes.
        RunQueue: "run/queue" (RunIdParams) -> QueueResult, [RunNotFound, RunNotActive, Unsupported];
        /// Takes back a prompt that waits for a turn, and answers with it: to remove it, or to edit it and send it again. A
        /// prompt whose turn has begun is an error with the field `promptId`.
        RunUnqueue: "run/unqueue" (UnqueueParams) -> QueuedPrompt, [RunNotFound, RunNotActive, Unsupported, Forbidden];
        /// Changes the size of a run's terminal; its programs get SIGWINCH. The new size is logged as an entry `size`,
        /// unless it is the old one. A run without a terminal answers `unsupported`.
        RunSetSize: "run/setSize" (SetSizeParams) -> Empty, [RunNotFound, RunNotActive, Unsupported];
        /// Closes the input of a run. An agent's run ends after its running turn and its queue. For a command, the
        /// server closes stdin or, on a terminal, sends the end-of-file character.
        RunCloseInput: "run/closeInput" (RunIdParams) -> Empty, [RunNotFound, RunNotActive, Forbidden];
        /// Stops an agent's turn and resolves its open permission requests; the session and the queue stay. The server
        /// answers when the turn has ended, at once if none runs. For a command, it sends SIGINT to the process group,
        /// as Ctrl-C in a terminal does, and answers once the program has ended, or after a second if it goes on. A run
        /// that is not interactive then ends as `cancelled`, an agent's run after its queue.
        RunInterrupt: "run/interrupt" (RunIdParams) -> Empty, [RunNotFound, Forbidden];
        /// Ends a run. The server sends SIGTERM and, after the grace period, SIGKILL to the whole process tree. It
        /// answers when the run is final and no process of its tree is left. It answers for a run that has ended
        /// already as well.
        RunCancel: "run/cancel" (CancelParams) -> RunResult, [RunNotFound, Store, Forbidden];
        /// Answers a permission request of an agent. The first answer counts. `command` makes no permission requests
        /// and answers `unsupported`.
        RunAnswer: "run/answer" (AnswerParams) -> Empty, [RunNotFound, RunNotActive, Unsupported, PermissionNotFound, PermissionResolved, Forbidden];
        /// Sets an agent's model or permission mode from its next turn on. `command` has neither and answers
        /// `unsupported`.
        RunConfigure: "run/configure" (ConfigureParams) -> RunResult, [RunNotFound, RunNotActive, Unsupported, Forbidden];
        /// Returns the command that opens an agent's session in a terminal. `command` has no session and answers
        /// `unsupported`.
        RunTakeover: "run/takeover" (TakeoverParams) -> TakeoverResult, [RunNotFound, SessionBusy, Unsupported, Forbidden];
    }
    "Reading and following runs" {
        /// Returns one run as it is now. After a final `run/state` both agree.
        RunGet: "run/get" (RunIdParams) -> RunResult, [RunNotFound, Store];
        /// Lists the runs of this store, newest first, from every server. A run must match all filters that are given.
        RunList: "run/list" (ListParams) -> ListResult, [Store];
        /// Changes the title, labels or pin of a run. Members that are absent stay as they are.
        RunEdit: "run/edit" (EditParams) -> RunResult, [RunNotFound, Store, Forbidden];
        /// Returns a page of the log: forward from `afterSeq`, or backward from `beforeSeq`.
        RunRead: "run/read" (ReadParams) -> ReadResult, [RunNotFound, Store];
        /// Returns a page of the items of a run's transcript, as of its newest entry: those after or before an item, or
        /// the last ones.
        RunItems: "run/items" (ItemsParams) -> ItemsResult, [RunNotFound, Store];
        /// Returns one item with nothing omitted but output. A number that no item has is `invalidParams`.
        RunGetItem: "run/getItem" (GetItemParams) -> GetItemResult, [RunNotFound, Store];
        /// Returns a page of output as text: from a byte onward, or the last lines.
        RunText: "run/text" (TextParams) -> TextResult, [RunNotFound, Store];
        /// Finds lines in the output of one run or of all runs, live ones included. The server answers within a second
        /// with the hits that it has; `nextCursor` continues from there. See [Searching](#searching).
        RunSearch: "run/search" (SearchParams) -> SearchResult, [RunNotFound, Store];
        /// Exports a run to a format that can be read without loomd; a live run as it is now. Without `path` the answer
        /// has the content, up to 32 MiB (`limit`). With `path` the server writes a file of any size. A path that
        /// cannot be written is `invalidParams` and leaves no file.
        RunExport: "run/export" (ExportParams) -> ExportResult, [RunNotFound, Limit, Store];
        /// Lists the files that an agent changed, according to its tool calls.
        RunChanges: "run/changes" (RunIdParams) -> ChangesResult, [RunNotFound, Store];
        /// Follows a run. Every entry after `afterSeq`, stored or live, comes as a notification, without a gap and
        /// without a repetition. Attaching again moves the cursor. An `afterSeq` beyond the end of the log is
        /// `invalidParams`. With `as: "items"` every item that an entry after `afterSeq` made or changed comes whole as
        /// `run/item`, by number, and then everything that changes; session, permission and state entries keep coming.
        RunAttach: "run/attach" (AttachParams) -> RunResult, [RunNotFound, Store];
        /// Stops following a run. The server answers for a run that this connection does not follow as well.
        RunDetach: "run/detach" (RunIdParams) -> Empty, [RunNotFound];
        /// Waits until every entry up to `seq` would survive a power cut.
        RunSync: "run/sync" (SyncParams) -> SyncResult, [RunNotFound, Store];
        /// Deletes a run and everything that is stored of it. For a run that has not ended, the server answers
        /// `runActive`.
        RunDelete: "run/delete" (RunIdParams) -> DeleteResult, [RunNotFound, RunActive, Store, Forbidden];
    }
    "Rules" {
        /// Lists the user's rules. A file that loomd does not understand answers nothing, and is `config` here.
        RuleList: "rule/list" (Empty) -> RulesResult, [Config];
        /// Adds a rule, which holds from the next permission request on, in every run. Links in the part of `path`
        /// before its first star, and in `cwd`, are resolved now. A rule that is there already is answered as it is.
        RuleAdd: "rule/add" (AddRuleParams) -> RuleResult, [Config, Limit, Forbidden];
        /// Removes a rule. A `ruleId` that no rule has is `invalidParams`.
        RuleRemove: "rule/remove" (RemoveRuleParams) -> Empty, [Config, Forbidden];
    }
    "Providers and the store" {
        /// Lists what this server can run, with the version where the provider reports one.
        ProviderList: "provider/list" (Empty) -> ProvidersResult, [Config];
        /// Lists the models and modes that a provider offers, as far as it reports them. The server starts the
        /// provider's program for a moment.
        ProviderOptions: "provider/options" (OptionsParams) -> OptionsResult, [ProviderNotFound, SpawnFailed, Unsupported];
        /// Lists a provider's own sessions, also those made outside of loomd, if the provider can list them.
        SessionList: "session/list" (SessionsParams) -> SessionsResult, [ProviderNotFound, SpawnFailed, Unsupported];
        /// Returns how much the store holds and how much it saved.
        StoreStats: "store/stats" (Empty) -> StatsResult, [Store];
        /// Deletes ended runs by age, number and size. It makes the database file smaller if that is worthwhile and
        /// nothing else uses the store.
        StorePrune: "store/prune" (PruneParams) -> PruneResult, [Store, Forbidden];
    }
}
