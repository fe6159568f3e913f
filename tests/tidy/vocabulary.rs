//! The code uses the words of docs/vocabulary.md: names that it gave up do not come back, and no two types share a
//! name.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{
    files_below,
    layers::{code_of, words},
    root,
};

/// Identifiers that are not used, in any language of this repository. docs/vocabulary.md has what is used instead.
const RETIRED_NAMES: &[&str] = &[
    "Asked",
    "Asking",
    "Birth",
    "Born",
    "Deed",
    "Drawer",
    "Ear",
    "Easel",
    "FAREWELL",
    "Heard",
    "Keeper",
    "LOOK",
    "LONG",
    "LONGEST",
    "Looker",
    "MOST",
    "Manner",
    "PATIENCE",
    "Painter",
    "Paper",
    "Pen",
    "Said",
    "Sight",
    "Strand",
    "Told",
    "Trouble",
    "Wish",
    "births",
    "give_birth",
    "inquire",
    "inquiry",
    "is_news",
    "is_told",
    "keeper",
    "knows_format",
    "painter",
    "strand",
    "unborn",
];

/// Modules that have another name now. The words themselves may name a variable.
const RETIRED_MODULES: &[&str] = &[
    "acting", "ask", "births", "ending", "facts", "hands", "hear", "inquire", "kept", "look", "news", "own", "pen", "phrase", "picture",
    "ready", "story", "strand", "talk", "told", "words",
];

/// Sentences that the screens of the command line and of both editors no longer show. They are put together here, so that a plain
/// search of the tree finds none.
const RETIRED_PHRASES: &[&str] = &[
    concat!("May", " it change this"),
    concat!("May", " it do this"),
    concat!("May", " it run this"),
    concat!("A", " word to the agent"),
    concat!("Say", " what is next"),
    concat!("ready", " for more"),
    concat!("Waved", " away"),
];

/// Type names that many modules may use, each for its own.
const SHARED_TYPE_NAMES: &[&str] = &["Error", "Options"];

#[test]
fn retired_names_are_not_used() {
    let mut found = Vec::new();
    for path in sources(&["src", "tests", "benches"]) {
        found.extend(retired_names_in(&path, &fs::read_to_string(&path).expect("a source file")));
    }
    assert!(found.is_empty(), "docs/vocabulary.md has the words to use instead of:\n{}", found.join("\n"));
}

#[test]
fn retired_phrases_are_not_shown() {
    let mut found = Vec::new();
    let editors = ["editors/vscode/src", "editors/vscode/media", "editors/nvim/lua", "editors/nvim/plugin", "editors/nvim/doc"];
    let roots = ["src", "docs"].into_iter().chain(editors);
    for root_name in roots {
        for extension in ["rs", "ts", "lua", "md", "txt", "json", "css"] {
            for path in files_below(&root().join(root_name), extension) {
                let text = fs::read_to_string(&path).expect("a text file");
                found.extend(
                    RETIRED_PHRASES.iter().filter(|phrase| text.contains(**phrase)).map(|phrase| format!("{}: {phrase}", shown(&path))),
                );
            }
        }
    }
    assert!(found.is_empty(), "docs/vocabulary.md has the words to use instead of:\n{}", found.join("\n"));
}

#[test]
fn no_two_types_share_a_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in sources(&["src"]) {
        for name in types_of(&fs::read_to_string(&path).expect("a source file")) {
            places.entry(name).or_default().push(shown(&path));
        }
    }
    let shared: Vec<String> = places
        .iter()
        .filter(|(name, places)| places.len() > 1 && !SHARED_TYPE_NAMES.contains(&name.as_str()))
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect();
    assert!(shared.is_empty(), "types that share a name:\n{}", shared.join("\n"));
}

#[test]
fn the_search_finds_retired_names() {
    let path = root().join("src/x.rs");
    assert_eq!(retired_names_in(&path, "struct Told; fn f() { let told = 1; }").len(), 1);
    assert_eq!(retired_names_in(&path, "mod told;\nuse super::words::X;\nfn f(words: &str) { own::f() }").len(), 3);
    assert_eq!(retired_names_in(&path, "// Told\nconst A: &str = \"Told\"; struct ToldNot; fn words() {}").len(), 0);
    assert_eq!(
        types_of("pub(crate) struct A;\nenum B {}\n    type Item = A;\ntype C = A;\nimpl X for A { type D = A; }\n"),
        ["A", "B", "C"]
    );
}

fn sources(roots: &[&str]) -> Vec<PathBuf> {
    let all = roots.iter().flat_map(|name| files_below(&root().join(name), "rs"));
    // This file has to name what it looks for.
    all.filter(|path| !path.ends_with("tidy/vocabulary.rs")).collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Uses of retired names in a file, and of retired names of modules where a module is meant.
fn retired_names_in(path: &Path, source: &str) -> Vec<String> {
    let code = code_of(source);
    let names = words(&code).filter(|word| RETIRED_NAMES.contains(word)).map(|word| format!("{}: {word}", shown(path)));
    let modules = RETIRED_MODULES.iter().filter(|name| {
        let declared = format!("mod {name};");
        let used = format!("{name}::");
        code.contains(&declared)
            || code.match_indices(&used).any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    });
    let modules = modules.map(|name| format!("{}: the module {name}", shown(path)));
    names.chain(modules).collect()
}

/// The types that a file defines; associated types of an `impl` or a trait are not among them.
fn types_of(source: &str) -> Vec<String> {
    let code = code_of(source);
    let mut found = Vec::new();
    for line in code.lines() {
        let rest = ["pub(crate) ", "pub(super) ", "pub "]
            .iter()
            .find_map(|prefix| line.trim_start().strip_prefix(prefix))
            .unwrap_or(line.trim_start());
        let Some((keyword, rest)) = rest.split_once(' ') else { continue };
        let is_type = match keyword {
            "struct" | "enum" | "trait" | "union" => true,
            // An indented one is an associated type.
            "type" => line.starts_with("type ") || line.starts_with("pub"),
            _ => false,
        };
        if is_type {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
}
