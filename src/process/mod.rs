//! Processes and files as the operating system has them: locks, private files, detached processes, process trees.
//!
//! Only this module calls the operating system past the standard library and tokio, names one, and may use `unsafe`
//! (tests `imports_go_down_only` and `only_one_module_knows_the_system` in `tests/tidy`).

pub(crate) mod ancestry;
pub(crate) mod current_process;
pub(crate) mod data_file;
pub(crate) mod descriptor;
pub(crate) mod detach;
pub(crate) mod disk;
pub(crate) mod find;
pub mod lock;
pub(crate) mod run_once;
pub(crate) mod signal_name;
pub(crate) mod socket;
pub mod spawn;
pub(crate) mod tree;

pub(crate) use rustix::process::Signal;
