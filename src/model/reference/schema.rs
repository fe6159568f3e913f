//! Generates one JSON Schema document (draft 2020-12) of the protocol, from which client types can be generated.

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{NOTIFICATIONS, Origin};
use crate::model::{
    FailureKind, METHODS, PROTOCOL_VERSION,
    calls::ErrorData,
    entry::Entry,
    methods::{MethodDoc, schema_of},
};

/// The whole protocol. `$defs` has every type by name; `methods` and `notifications` refer to the types of their params
/// and results.
pub fn json_schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let methods = methods(&mut generator);
    let notifications = notifications(&mut generator);
    schema_of::<Entry>(&mut generator);
    schema_of::<ErrorData>(&mut generator);
    let mut types: Vec<_> = generator.take_definitions(true).into_iter().collect();
    types.sort_by(|(a, _), (b, _)| a.cmp(b));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The loomd protocol",
        "description": "JSON-RPC 2.0 over stdio. `methods` and `notifications` refer to their params and results, `failures` lists the error codes.",
        "protocolVersion": PROTOCOL_VERSION,
        "methods": methods,
        "notifications": notifications,
        "failures": failures(),
        "$defs": types.into_iter().collect::<Map<_, _>>(),
    })
}

fn methods(generator: &mut SchemaGenerator) -> Map<String, Value> {
    let entry = |method: &MethodDoc| {
        let value = json!({
            "description": method.description,
            "params": (method.params)(generator),
            "result": (method.result)(generator),
            "failures": method.failures,
        });
        (method.name.to_owned(), value)
    };
    METHODS.iter().map(entry).collect()
}

fn notifications(generator: &mut SchemaGenerator) -> Map<String, Value> {
    let entry = |notification: &super::NotificationDoc| {
        let from = match notification.from {
            Origin::Client => "client",
            Origin::Server => "server",
        };
        let value = json!({ "description": notification.description, "from": from, "params": (notification.params)(generator) });
        (notification.name.to_owned(), value)
    };
    NOTIFICATIONS.iter().map(entry).collect()
}

fn failures() -> Map<String, Value> {
    let entry = |kind: FailureKind| (kind.as_str().to_owned(), json!({ "code": kind.code(), "data": kind.members() }));
    FailureKind::ALL.iter().copied().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn walk(value: &Value, path: &str, visit: &mut impl FnMut(&str, &Map<String, Value>)) {
        match value {
            Value::Object(object) => {
                visit(path, object);
                object.iter().for_each(|(name, value)| walk(value, &format!("{path}/{name}"), visit));
            }
            Value::Array(list) => list.iter().enumerate().for_each(|(at, value)| walk(value, &format!("{path}/{at}"), visit)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_to_a_type() {
        let schema = json_schema();
        let mut seen = 0;
        walk(&schema, "", &mut |path, object| {
            if let Some(Value::String(target)) = object.get("$ref") {
                let pointer = target.strip_prefix('#').expect("references stay inside the document");
                assert!(schema.pointer(pointer).is_some(), "{path} refers to {target}, which is not there");
                seen += 1;
            }
        });
        assert!(seen > 50, "only {seen} references were looked at");
    }

    #[test]
    fn every_member_of_every_type_is_explained() {
        let mut undocumented = BTreeSet::new();
        let schema = json_schema();
        for (name, definition) in schema["$defs"].as_object().expect("the schema has types") {
            if definition.get("description").is_none() {
                undocumented.insert(name.clone());
            }
        }
        walk(&schema["$defs"], "", &mut |path, object| {
            let Some(Value::Object(properties)) = object.get("properties") else { return };
            for (name, property) in properties {
                let is_tag = property.get("const").is_some();
                if !is_tag && property.get("description").is_none() {
                    undocumented.insert(format!("{path}: {name}"));
                }
            }
        });
        assert!(
            undocumented.is_empty(),
            "these types and members have no doc comment:\n{}",
            undocumented.into_iter().collect::<Vec<_>>().join("\n")
        );
    }

    #[test]
    fn every_name_is_unique() {
        let names: Vec<_> = METHODS.iter().map(|method| method.name).chain(NOTIFICATIONS.iter().map(|one| one.name)).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn a_pushed_entry_carries_its_kind() {
        let schema = json_schema();
        for kind in crate::model::Kind::ALL.iter().copied() {
            let params = &schema["notifications"][kind.method()]["params"];
            assert_eq!(params["properties"]["kind"]["const"], kind.as_str(), "{params}");
        }
    }
}
