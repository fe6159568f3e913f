//! The commands for people on a real terminal: a pseudoterminal with keys, a hang-up, a pipe that is closed.
//!
//! What the commands print elsewhere is tested with the other integration tests.

mod agents;
mod commands;
mod home;
