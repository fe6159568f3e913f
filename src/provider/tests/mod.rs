//! What the unit tests of all providers share: a conversation that a test drives, and recordings that are played through adapters.

pub(crate) mod conversation_driver;
pub(crate) mod recording;
