//! Bytes to messages and back: framing, the connection of a server, the client of a server.
//!
//! Nothing here knows a run. What a method does is the server's business; this room cares that every request
//! is answered once, in the right framing, and that a client which does not read costs a bounded amount.

pub mod client;
pub mod connection;
mod envelope;
pub mod frame;
mod in_flight;
pub mod outgoing;
pub mod service;
pub mod stdio;

pub use client::{Client, Notification, Notifications};
pub use connection::{Ended, Flow, Hooks, serve};
pub use frame::{DEFAULT_FRAME_LIMIT, FrameCodec, Framing};
pub use in_flight::{AfterAnswer, Call};
pub use outgoing::{Bulk, Outgoing};
pub use service::params;
