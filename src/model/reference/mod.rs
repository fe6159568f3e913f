//! The JSON Schema and the protocol reference, generated from the table of methods, that of notifications, and the types
//! of both. The tables say what a method or notification does, the doc comments of the types what params and results are.

mod markdown;
mod prose;
mod schema;
mod tables;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{
    calls::{CancelRequestParams, ChangedParams, DeletedParams, Empty, ItemParams},
    entry::{Entry, Kind},
    failure::FailureKind,
    methods::{SchemaFn, schema_of},
};

pub use markdown::markdown;
pub use schema::json_schema;

/// A notification, which has no answer.
pub(crate) struct NotificationDoc {
    pub name: &'static str,
    pub(crate) from: Origin,
    pub(crate) description: &'static str,
    pub(crate) params: SchemaFn,
}

/// Who sends a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Client,
    Server,
}

/// Failures with which any request may be answered.
pub(crate) const GENERAL_FAILURES: &[FailureKind] = &[
    FailureKind::InvalidRequest,
    FailureKind::MethodNotFound,
    FailureKind::InvalidParams,
    FailureKind::Internal,
    FailureKind::NotInitialized,
    FailureKind::Cancelled,
];

/// Every notification, in the order of the reference.
pub(crate) const NOTIFICATIONS: &[NotificationDoc] = &[
    NotificationDoc {
        name: "initialized",
        from: Origin::Client,
        description: "The client has received the answer to `initialize`. The server does not wait for it.",
        params: schema_of::<Empty>,
    },
    NotificationDoc {
        name: "exit",
        from: Origin::Client,
        description: "Ends the server: with exit code 0 after `shutdown`, with 1 without it.",
        params: schema_of::<Empty>,
    },
    NotificationDoc {
        name: "$/cancelRequest",
        from: Origin::Client,
        description: "Cancels a request that has not been answered, so that it answers `cancelled`. What the request \
            has begun is not undone.",
        params: schema_of::<CancelRequestParams>,
    },
    NotificationDoc {
        name: "run/output",
        from: Origin::Server,
        description: "The program wrote output. Goes to attached connections.",
        params: |generator| entry_of(generator, Kind::Output),
    },
    NotificationDoc {
        name: "run/session",
        from: Origin::Server,
        description: "The provider's session became known, or more of it did. Goes to attached connections and to all \
            that watch.",
        params: |generator| entry_of(generator, Kind::Session),
    },
    NotificationDoc {
        name: "run/update",
        from: Origin::Server,
        description: "An agent's output, interpreted, or a notice of loomd's own. Goes to attached connections. `command` has \
            notices only.",
        params: |generator| entry_of(generator, Kind::Update),
    },
    NotificationDoc {
        name: "run/item",
        from: Origin::Server,
        description: "An item of the transcript is new, changed or grew. Goes to connections that are attached to items.",
        params: schema_of::<ItemParams>,
    },
    NotificationDoc {
        name: "run/permission",
        from: Origin::Server,
        description: "An agent made a permission request, or one was resolved. Goes to attached connections and to \
            all that watch.",
        params: |generator| entry_of(generator, Kind::Permission),
    },
    NotificationDoc {
        name: "run/state",
        from: Origin::Server,
        description: "The run changed its state. Goes to attached connections and to all that watch. A final state is \
            the last entry of the log and comes after the last byte of output.",
        params: |generator| entry_of(generator, Kind::State),
    },
    NotificationDoc {
        name: "run/size",
        from: Origin::Server,
        description: "The run's terminal has this size: at its start, and after each change. Goes with `run/output` to \
            attached connections, never to those that only watch.",
        params: |generator| entry_of(generator, Kind::Size),
    },
    NotificationDoc {
        name: "run/changed",
        from: Origin::Server,
        description: "A run is new, was edited, or has a problem with its storage. Goes to all that watch. It is not an entry \
            of the log.",
        params: schema_of::<ChangedParams>,
    },
    NotificationDoc {
        name: "run/deleted",
        from: Origin::Server,
        description: "Runs were deleted. Goes to all that watch. It is not an entry of the log.",
        params: schema_of::<DeletedParams>,
    },
];

/// The schema of one kind of [`Entry`], with its `kind`. It is the schema of the params of the notification that
/// delivers such entries.
fn entry_of(generator: &mut SchemaGenerator, kind: Kind) -> Schema {
    let position = Kind::ALL.iter().position(|other| *other == kind).expect("every kind is in the list of all");
    let whole = Entry::json_schema(generator);
    let variant = whole.pointer(&format!("/oneOf/{position}")).expect("an entry is one of its kinds");
    Schema::try_from(variant.clone()).expect("a variant is a schema")
}
