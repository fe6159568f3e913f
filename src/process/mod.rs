//! Processes and files as the operating system has them: locks, private files, detached processes, process trees.
//!
//! Only this module may use `unsafe` and `libc` (test `imports_go_down_only` in `tests/tidy`). It is not the only one
//! that calls the system: modules above it read, write, poll and signal through `rustix` as well, and a few of them
//! have a `cfg(target_os)` of their own.

pub(crate) mod ancestry;
pub(crate) mod current_process;
pub(crate) mod data_file;
pub(crate) mod detach;
pub(crate) mod disk;
pub(crate) mod find;
pub mod lock;
pub(crate) mod run_once;
pub(crate) mod signal_name;
pub(crate) mod socket;
pub mod spawn;
pub(crate) mod tree;
