//! Params and results of the methods. Which belong to which method says [`super::reference`].

mod agents;
mod export;
mod lifecycle;
mod read;
mod search;
mod start;
mod steer;

pub use agents::*;
pub use export::*;
pub use lifecycle::*;
pub use read::*;
pub use search::*;
pub use start::*;
pub use steer::*;
