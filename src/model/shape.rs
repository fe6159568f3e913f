//! Shapes that clients in other languages send, and how the schema names open objects.

use std::collections::BTreeMap;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

/// Schema of an object whose members we do not prescribe.
pub fn open_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": true })
}

/// A map, where `[]` means the empty one: Lua encodes an empty table so.
pub fn map_or_empty_list<'de, D, V>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: Deserializer<'de>,
    V: DeserializeOwned,
{
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected an object")]
    enum MapOrList<V> {
        Map(BTreeMap<String, V>),
        Empty([(); 0]),
    }
    match MapOrList::deserialize(deserializer)? {
        MapOrList::Map(map) => Ok(map),
        MapOrList::Empty([]) => Ok(BTreeMap::new()),
    }
}
