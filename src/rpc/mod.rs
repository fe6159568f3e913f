//! JSON-RPC 2.0 over byte streams: framing, the server's side of a connection, and a client.
//!
//! This module knows no runs and no methods. It guarantees that every request is answered exactly once, in the framing
//! that the client speaks, and that a client which does not read costs a bounded amount of memory.

mod bulk_frames;
pub(crate) mod child;
pub(crate) mod client;
pub(crate) mod connection;
mod envelope;
pub(crate) mod frame;
mod in_flight;
pub(crate) mod outgoing;
mod params;
pub(crate) mod stdio;

pub(crate) use client::{Client, Notification, Notifications, is_connection_end};
pub(crate) use connection::{ConnectionEnd, Flow, HandlerFuture, Service};
pub(crate) use frame::{FrameCodec, Framing};
pub(crate) use in_flight::RequestContext;
pub(crate) use outgoing::Outgoing;
pub(crate) use params::read_params;
