//! The operating system, and only here: locks, private files, detached processes, process trees.
//!
//! Nothing outside this folder knows which system it runs on, and only this folder may use `unsafe`.

pub mod ask;
pub mod detach;
pub mod disk;
pub mod ending;
pub mod find;
pub mod lock;
pub mod own;
pub mod ready;
pub mod spawn;
pub mod tree;
