//! Tables of the reference, made from the schemas of the types.

use std::fmt::Write;

use serde_json::{Map, Value};

/// The name of the type that a schema refers to, if it is nothing but a reference.
pub fn reference_name(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str().and_then(|target| target.strip_prefix("#/$defs/"))
}

/// A type in the reference's notation; named types are links.
pub fn type_of(schema: &Value) -> String {
    if let Some(name) = reference_name(schema) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    if let Some(alternatives) = alternatives(schema) {
        return alternatives.iter().filter(|one| one["type"] != "null").map(type_of).collect::<Vec<_>>().join(" or ");
    }
    let names: Vec<_> = match &schema["type"] {
        Value::String(name) => vec![name.as_str()],
        Value::Array(names) => names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
        _ => vec!["anything"],
    };
    match names[..] {
        ["array"] => format!("[ {} ]", type_of(&schema["items"])),
        ["object"] => object(schema),
        _ => names.join(" or "),
    }
}

/// The members of an object as a table, and what its variants add.
pub fn members(definition: &Value) -> String {
    let mut text = String::from("| member | type | |\n|---|---|---|\n");
    rows(&mut text, definition);
    text.push('\n');
    for variant in definition["oneOf"].as_array().into_iter().flatten() {
        let tag = properties(variant).iter().find_map(|(name, schema)| Some((name, schema.get("const")?)));
        let (name, value) = tag.expect("a variant is told by its tag");
        write!(text, "Where `{name}` is `{value}`:\n\n| member | type | |\n|---|---|---|\n").expect("writing to a string cannot fail");
        rows(&mut text, variant);
        text.push('\n');
    }
    text
}

/// A named type: what it is, and its members, words or alternatives.
pub fn definition(definition: &Value) -> String {
    let mut text = format!("{}\n\n", description(definition));
    if definition.get("properties").is_some() {
        text.push_str(&members(definition));
    } else if let Some(words) = words(definition) {
        text.push_str("| word | |\n|---|---|\n");
        for (word, meaning) in words {
            writeln!(text, "| `{word}` | {meaning} |").expect("writing to a string cannot fail");
        }
        text.push('\n');
    } else if let Some(alternatives) = alternatives(definition) {
        for alternative in alternatives {
            let meaning = match alternative["properties"]["kind"]["const"].as_str() {
                Some(kind) => format!("where `kind` is `{kind}`"),
                None => description(alternative).to_owned(),
            };
            let colon = if meaning.is_empty() { "" } else { ": " };
            writeln!(text, "- {}{colon}{meaning}", type_of(alternative)).expect("writing to a string cannot fail");
        }
        text.push('\n');
    } else {
        let format = definition["format"].as_str().map(|format| format!(" ({format})")).unwrap_or_default();
        write!(text, "A {}{format}.\n\n", type_of(definition)).expect("writing to a string cannot fail");
    }
    text
}

fn rows(text: &mut String, definition: &Value) {
    let required: Vec<_> = definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, schema) in properties(definition) {
        let mark = if required.contains(&name.as_str()) { "" } else { "?" };
        let default = schema.get("default").filter(|value| !value.is_object()).map(|value| format!(" Default `{value}`."));
        let (kind, about, default) = (type_of(schema), description(schema), default.unwrap_or_default());
        writeln!(text, "| `{name}{mark}` | {kind} | {about}{default} |").expect("writing to a string cannot fail");
    }
}

/// The words of an enumeration, with what each means.
fn words(definition: &Value) -> Option<Vec<(&str, &str)>> {
    let mut words = Vec::new();
    let whole = std::slice::from_ref(definition);
    for group in definition["oneOf"].as_array().map_or(whole, Vec::as_slice) {
        match (group["const"].as_str(), group["enum"].as_array()) {
            (Some(word), _) => words.push((word, description(group))),
            (None, Some(list)) => words.extend(list.iter().filter_map(Value::as_str).map(|word| (word, ""))),
            (None, None) => return None,
        }
    }
    Some(words)
}

fn object(schema: &Value) -> String {
    if let Some(members) = schema["properties"].as_object() {
        let members: Vec<_> = members.iter().map(|(name, schema)| format!("`{name}`: {}", type_of(schema))).collect();
        return format!("{{ {} }}", members.join(", "));
    }
    match &schema["additionalProperties"] {
        values @ Value::Object(_) => {
            let nullable = values["type"].as_array().is_some_and(|types| types.iter().any(|name| name == "null"));
            format!("{{ name: {}{} }}", type_of(values), if nullable { " or null" } else { "" })
        }
        _ => "object".to_owned(),
    }
}

fn alternatives(schema: &Value) -> Option<&[Value]> {
    schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()).map(Vec::as_slice)
}

fn properties(schema: &Value) -> &Map<String, Value> {
    schema["properties"].as_object().expect("an object has members")
}

fn description(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}
