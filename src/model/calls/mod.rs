//! Params and results of the methods. [`super::METHODS`] assigns them to the methods.

mod agents;
mod items;
mod lifecycle;
mod read;
mod start;
mod steer;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

pub(crate) use super::rule::{AddRuleParams, RemoveRuleParams, RuleResult, RulesResult};
pub(crate) use agents::*;
pub(crate) use items::*;
pub(crate) use lifecycle::*;
pub(crate) use read::*;
pub use start::*;
pub(crate) use steer::*;

/// Reads a map. `[]` is the empty map, because Lua encodes an empty table as `[]`.
fn map_or_empty_list<'de, D, V>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: Deserializer<'de>,
    V: DeserializeOwned,
{
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "must be an object")]
    enum MapOrList<V> {
        Map(BTreeMap<String, V>),
        Empty([(); 0]),
    }
    match MapOrList::deserialize(deserializer)? {
        MapOrList::Map(map) => Ok(map),
        MapOrList::Empty([]) => Ok(BTreeMap::new()),
    }
}
