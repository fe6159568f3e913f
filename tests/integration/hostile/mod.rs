//! Inputs that somebody made to do harm, used against every view: an agent's texts and JSON, a copied data directory.
//! The texts are in tests/hostile.

mod agents;
mod bounds;
mod files;
mod takeovers;
