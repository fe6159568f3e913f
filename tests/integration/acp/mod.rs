//! `loomd acp`: the real binary, driven over stdio by a client of the Agent Client Protocol.

mod breaks;
mod client;
mod commands;
mod sessions;
mod turns;
