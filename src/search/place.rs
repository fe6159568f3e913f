//! Places in a run's output: where something stands, where a search goes on, and how much is held on the way.

use super::look::Begin;
use crate::model::calls::SearchHit;

/// A place in the output of a run, in log order: an entry, and a byte of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub seq: u64,
    pub offset: u64,
}

/// A hit, and where it stands.
pub struct Found {
    pub key: Key,
    pub hit: SearchHit,
    /// Nothing else is told of its line.
    pub is_only: bool,
}

/// How much of a line is held.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// A line that is longer than this is searched in pieces,
    pub window: usize,
    /// of which each is searched once more with this much of the one before.
    pub overlap: usize,
}

impl Bounds {
    pub const USUAL: Self = Self { window: 4 << 20, overlap: 64 << 10 };
}

/// Where a reader must begin to have a strand again as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    pub begin: Begin,
    pub offset: u64,
}
