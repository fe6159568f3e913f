//! loomd runs coding agents and long commands for editors. A run outlives the editor that started it.
//!
//! loomd is a program, not a library. [`main`] is its only interface for other crates; clients use the protocol in
//! `docs/protocol.md`. The other public items exist for the tests, benches and doc examples of this repository, and may
//! change at any time. `docs/architecture.md` describes the modules.

mod acp;
mod args;
mod claims;
mod cli;
mod client;
mod config;
mod environment;
mod export;
pub mod history;
pub mod log;
mod mcp;
pub mod model;
pub mod process;
pub mod provider;
mod rpc;
mod rules;
mod runs;
mod search;
mod server;
pub mod store;
mod supervisor;
mod transcript;
mod web;

pub use args::main;
