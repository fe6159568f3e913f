//! loomd: runs coding agents and long commands for editors.
pub mod model;
pub mod store;
