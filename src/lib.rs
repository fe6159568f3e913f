//! loomd: runs coding agents and long commands for editors.
pub mod log;
pub mod model;
pub mod process;
pub mod supervisor;
