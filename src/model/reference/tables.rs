//! Makes the tables of the reference from the schemas of the types.

use std::fmt::Write;

use serde_json::{Map, Value};

/// The name of the type that a schema refers to; `None` if the schema is not a reference.
pub(crate) fn reference_name(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str().and_then(|target| target.strip_prefix("#/$defs/"))
}

/// A type in the notation of the reference. Named types are links.
pub(crate) fn type_of(schema: &Value) -> String {
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

/// The members of an object as a table, and a table for each variant with the members that it adds.
pub(crate) fn members(definition: &Value) -> String {
    let mut text = String::from("| member | type | |\n|---|---|---|\n");
    rows(&mut text, definition);
    text.push('\n');
    for variant in definition["oneOf"].as_array().into_iter().flatten() {
        let tag = properties(variant).iter().find_map(|(name, schema)| Some((name, schema.get("const")?)));
        let (name, value) = tag.expect("a variant has a tag");
        write!(text, "Where `{name}` is `{value}`:\n\n| member | type | |\n|---|---|---|\n").expect("writing to a string cannot fail");
        rows(&mut text, variant);
        text.push('\n');
    }
    text
}

/// A named type: its description, and its members, values or alternatives.
pub(crate) fn definition(definition: &Value) -> String {
    let mut text = format!("{}\n\n", filled(description(definition)));
    if definition.get("properties").is_some() {
        text.push_str(&members(definition));
    } else if let Some(values) = enum_values(definition) {
        text.push_str("| value | |\n|---|---|\n");
        for (value, meaning) in values {
            writeln!(text, "| `{value}` | {} |", cell(meaning)).expect("writing to a string cannot fail");
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

/// Text filled into lines of at most 120 columns, paragraph by paragraph.
pub(crate) fn filled(text: &str) -> String {
    const MAX_COLUMNS: usize = 120;
    let fill = |paragraph: &str| {
        let mut lines = vec![String::new()];
        for word in paragraph.split_whitespace() {
            let line = lines.last_mut().expect("there is always a line");
            if line.is_empty() {
                line.push_str(word);
            } else if line.chars().count() + 1 + word.chars().count() <= MAX_COLUMNS {
                line.push(' ');
                line.push_str(word);
            } else {
                lines.push(word.to_owned());
            }
        }
        lines.join("\n")
    };
    text.split("\n\n").map(fill).collect::<Vec<_>>().join("\n\n")
}

/// Text for a cell of a table, which a line break would end.
fn cell(text: &str) -> String {
    text.replace('\n', " ")
}

fn rows(text: &mut String, definition: &Value) {
    let required: Vec<_> = definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, schema) in properties(definition) {
        let optional_mark = if required.contains(&name.as_str()) { "" } else { "?" };
        let default = schema.get("default").filter(|value| !value.is_object()).map(|value| format!(" Default `{value}`."));
        let (kind, description, default) = (type_of(schema), cell(description(schema)), default.unwrap_or_default());
        writeln!(text, "| `{name}{optional_mark}` | {kind} | {description}{default} |").expect("writing to a string cannot fail");
    }
}

/// The values of an enumeration, with the description of each.
fn enum_values(definition: &Value) -> Option<Vec<(&str, &str)>> {
    let mut values = Vec::new();
    let single_group = std::slice::from_ref(definition);
    for group in definition["oneOf"].as_array().map_or(single_group, Vec::as_slice) {
        match (group["const"].as_str(), group["enum"].as_array()) {
            (Some(value), _) => values.push((value, description(group))),
            (None, Some(list)) => values.extend(list.iter().filter_map(Value::as_str).map(|value| (value, ""))),
            (None, None) => return None,
        }
    }
    Some(values)
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
