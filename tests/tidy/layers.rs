//! Imports go down only. Each module of `src` is a layer of its own, so a circle would need an upward import.

use std::{collections::BTreeSet, fs, path::Path};

use super::{files_below, root};

/// The modules, top layer first: a module may use those below it. A new module gets its line here.
const LAYERS: &[&str] = &[
    "main",
    "args",
    "acp",
    "mcp",
    "web",
    "cli",
    "client",
    "server",
    "runs",
    "supervisor",
    "rules",
    "rpc",
    "environment",
    "config",
    "export",
    "provider",
    "search",
    "transcript",
    "history",
    "log",
    "store",
    "claims",
    "process",
    "model",
];

/// Each speaks to people or to another program's protocol, and is a client of the server. None uses another.
const FRONT_ENDS: &[&str] = &["acp", "mcp", "web", "cli"];

/// Words that may stand in one module only.
const RESERVED_WORDS: &[(&str, &str)] = &[("redb", "store"), ("libc", "process"), ("unsafe", "process")];

#[test]
fn imports_go_down_only() {
    let broken = broken_rules(&root().join("src"));
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Folders that draw items, and interpret no update.
const DRAWING_FOLDERS: &[&str] = &["cli", "export", "mcp", "server", "web"];

#[test]
fn only_the_transcript_interprets_updates() {
    for folder in DRAWING_FOLDERS {
        for path in files_below(&root().join("src").join(folder), "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            // Tests make updates, and look at what is drawn.
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let is_test = path.file_stem().is_some_and(|name| name.to_string_lossy().ends_with("tests"));
            for word in ["sessionUpdate", "\"loomd/", "tool_call_update", "agent_message_chunk"] {
                assert!(is_test || !code.contains(word), "{} interprets an update: it says {word}", path.display());
            }
        }
    }
}

/// Only `process/` calls the operating system past the standard library, and only it names one.
#[test]
fn only_one_module_knows_the_system() {
    let src = root().join("src");
    let mut found = Vec::new();
    for path in files_below(&src, "rs") {
        let inside = path.strip_prefix(&src).expect("a file of the tree");
        let is_test = inside.iter().chain(path.file_stem()).any(|part| part.to_string_lossy().ends_with("tests"));
        if is_test || inside.starts_with("process") {
            continue;
        }
        let code = code_of(&fs::read_to_string(&path).expect("a source file"));
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        found.extend(
            ["rustix", "target_os"]
                .iter()
                .filter(|word| words(code).any(|found| found == **word))
                .map(|word| format!("{} says {word}", inside.display())),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_walk_finds_all_uses() {
    let used = modules_used(
        "use crate::{log::{Append, follow::Cursor}, model as words, rpc};\nfn f() { crate::store::open(); super::process::spawn() }",
        1,
    );
    assert_eq!(used.into_iter().collect::<Vec<_>>(), ["log", "model", "process", "rpc", "store"]);
    let used = modules_used("use super::super::log; // crate::server\nlet x = \"crate::cli\"; /* crate::main */", 2);
    assert_eq!(used.into_iter().collect::<Vec<_>>(), ["log"]);
}

#[test]
fn a_broken_rule_is_seen() {
    let tree = tempfile::tempdir().expect("a directory");
    let write = |path: &str, text: &str| {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    };
    write("lib.rs", "pub mod model;\npub mod store;");
    write("main.rs", "use loomd::store::Store;");
    write("store/mod.rs", "use redb::Database; use crate::model::Run;");
    write("model/run.rs", "/// `crate::store` keeps it.\npub struct Run;");
    assert_eq!(broken_rules(tree.path()), Vec::<String>::new());

    write("model/run.rs", "use crate::store::Store;");
    write("store/open.rs", "use crate::log::Append;");
    write("log/append.rs", "use redb::Table; fn f() { unsafe { libc::fork() } }");
    write("log/unknown.rs", "use crate::unknown::Thing;");
    write("unlisted/mod.rs", "");
    write("acp/mod.rs", "use crate::cli::render;");
    let broken = broken_rules(tree.path()).join("\n");
    for expected in [
        "model/run.rs uses store",
        "store/open.rs uses log",
        "redb",
        "unsafe",
        "libc",
        "uses unknown",
        "unlisted is in no layer",
        "acp/mod.rs uses cli",
    ] {
        assert!(broken.contains(expected), "no word of `{expected}` in:\n{broken}");
    }
}

fn broken_rules(src: &Path) -> Vec<String> {
    let mut broken = Vec::new();
    for path in files_below(src, "rs") {
        let inside = path.strip_prefix(src).expect("a file of the tree");
        let parts: Vec<_> = inside.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let module = parts[0].as_str();
        let code = code_of(&fs::read_to_string(&path).expect("a source file"));
        let name = inside.display();
        for (word, home) in RESERVED_WORDS {
            if module != *home && words(&code).any(|found| found == *word) {
                broken.push(format!("{name} says `{word}`; only {home}/ may"));
            }
        }
        if module == "lib" {
            continue;
        }
        let Some(layer) = layer_of(module) else {
            broken.push(format!("{module} is in no layer; add it to LAYERS in tests/tidy/layers.rs"));
            continue;
        };
        let depth = if parts.last().is_some_and(|last| last == "mod") { parts.len() - 1 } else { parts.len() };
        for used in modules_used(&code, depth) {
            match layer_of(&used) {
                _ if used == module => {}
                _ if FRONT_ENDS.contains(&module) && FRONT_ENDS.contains(&used.as_str()) => {
                    broken.push(format!("{name} uses {used}, which is a front end, too"));
                }
                Some(below) if below > layer => {}
                Some(_) => broken.push(format!("{name} uses {used}, which is above {module}")),
                None => broken.push(format!("{name} uses {used}, which is in no layer")),
            }
        }
    }
    broken
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|one| *one == module)
}

/// First names of all paths that begin at the crate's root, as code in a module so deep writes them.
fn modules_used(source: &str, depth: usize) -> BTreeSet<String> {
    let code = code_of(source);
    let mut found = BTreeSet::new();
    for prefix in ["crate::".to_owned(), "loomd::".to_owned(), "super::".repeat(depth)] {
        for (at, _) in code.match_indices(&prefix) {
            let before = &code[..at];
            let continues = before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '$'));
            if !continues {
                found.extend(first_names(&code[at + prefix.len()..]));
            }
        }
    }
    found
}

/// The name that follows a prefix, or the first names inside its braces.
fn first_names(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else {
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        // A path that goes further up, or names an item of the root itself, is no module.
        return Some(name).filter(|name| name != "super" && name.starts_with(|c: char| c.is_lowercase())).into_iter().collect();
    };
    let (mut depth, mut names, mut item) = (0, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(std::mem::take(&mut item)),
            _ => {}
        }
        item.push(c);
    }
    names.push(item);
    let names = names.iter().map(|item| item.trim_matches([',', ' ', '\n', '\t']));
    names.flat_map(|item| first_names(item.trim_start_matches('{'))).filter(|name| !name.is_empty()).collect()
}

pub(crate) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// The source without comments and without what stands in strings.
pub(crate) fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            string_length(rest)
        } else if let Some(length) = raw_string_length(rest, &code) {
            length
        } else if let Some(length) = char_length(rest) {
            length
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skip..];
    }
    code
}

fn string_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string_length(rest: &str, before: &str) -> Option<usize> {
    let inside_a_name = before.ends_with(|c: char| c.is_alphanumeric() && c != 'b' || c == '_');
    let body = rest.strip_prefix('r').filter(|_| !inside_a_name)?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let text = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(2 + hashes + text.find(&end).map_or(text.len(), |at| at + end.len()))
}

/// Length of a character literal; a lifetime is none.
fn char_length(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    if body.starts_with('\\') {
        return body[2..].find('\'').map(|at| at + 4);
    }
    let first = body.chars().next()?.len_utf8();
    body[first..].starts_with('\'').then_some(first + 2)
}
