//! loomd: runs coding agents and long commands for editors, live, kept, and alive when the editor goes.
//!
//! `docs/architecture.md` is the map. Imports go down only: server, supervisor, rpc, log, store, process, model.

pub mod cli;
pub mod config;
pub mod export;
pub mod history;
pub mod log;
pub mod model;
pub mod process;
pub mod provider;
pub mod rpc;
pub mod search;
pub mod server;
pub mod store;
pub mod supervisor;
