//! The commands for people on a pseudoterminal: keys, a hang-up, a closed pipe.
//!
//! What the commands print without a terminal is tested in `tests/integration/command_line.rs`.

mod agents;
mod commands;
mod home;
mod hostile;
mod hosts;
mod rules;
