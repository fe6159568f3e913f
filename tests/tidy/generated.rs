//! The committed reference and schema are those that are generated from the types.

use loomd::model::reference;

#[test]
fn the_protocol_reference_is_fresh() {
    check("docs/protocol.md", &reference::markdown(), "cargo run -- schema --markdown > docs/protocol.md");
}

#[test]
fn the_json_schema_is_fresh() {
    let schema = serde_json::to_string_pretty(&reference::json_schema()).expect("a schema is JSON");
    check("docs/protocol.schema.json", &format!("{schema}\n"), "cargo run -- schema > docs/protocol.schema.json");
}

fn check(path: &str, made: &str, mend: &str) {
    let committed = std::fs::read_to_string(super::root().join(path)).unwrap_or_default();
    if let Some((number, (old, new))) = first_difference(&committed, made) {
        panic!("{path} is stale from line {number} on:\n  committed: {old}\n  the types: {new}\nmake it anew:\n  {mend}");
    }
}

fn first_difference<'a>(committed: &'a str, made: &'a str) -> Option<(usize, (&'a str, &'a str))> {
    if committed == made {
        return None;
    }
    let (mut old, mut new) = (committed.split('\n'), made.split('\n'));
    (1..).map(|number| (number, (old.next().unwrap_or("(the end)"), new.next().unwrap_or("(the end)")))).find(|(_, (old, new))| old != new)
}
