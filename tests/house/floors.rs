//! Imports go down only. Each room of `src` stands on a floor of its own, so no circle can be made without an arrow upward.

use std::{collections::BTreeSet, fs, path::Path};

use super::{files_below, root};

/// The rooms, top floor first: a room may use those below it. A new room gets its line here.
const ROOMS: &[&str] = &[
    "main",
    "args",
    "cli",
    "server",
    "seal",
    "supervisor",
    "rpc",
    "config",
    "export",
    "provider",
    "search",
    "history",
    "log",
    "store",
    "process",
    "model",
];

/// Words that may stand in one room only.
const KEPT_WORDS: &[(&str, &str)] = &[("redb", "store"), ("libc", "process"), ("unsafe", "process")];

#[test]
fn imports_go_down_only() {
    let broken = broken_rules(&root().join("src"));
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_walk_sees_what_it_looks_for() {
    let used = rooms_used(
        "use crate::{log::{Append, follow::Cursor}, model as words, rpc};\nfn f() { crate::store::open(); super::process::spawn() }",
        1,
    );
    assert_eq!(used.into_iter().collect::<Vec<_>>(), ["log", "model", "process", "rpc", "store"]);
    let used = rooms_used("use super::super::log; // crate::server\nlet x = \"crate::cli\"; /* crate::main */", 2);
    assert_eq!(used.into_iter().collect::<Vec<_>>(), ["log"]);
}

#[test]
fn a_broken_rule_is_seen() {
    let house = tempfile::tempdir().expect("a directory");
    let build = |path: &str, text: &str| {
        let path = house.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    };
    build("lib.rs", "pub mod model;\npub mod store;");
    build("main.rs", "use loomd::store::Store;");
    build("store/mod.rs", "use redb::Database; use crate::model::Run;");
    build("model/run.rs", "/// `crate::store` keeps it.\npub struct Run;");
    assert_eq!(broken_rules(house.path()), Vec::<String>::new());

    build("model/run.rs", "use crate::store::Store;");
    build("store/open.rs", "use crate::log::Append;");
    build("log/append.rs", "use redb::Table; fn f() { unsafe { libc::fork() } }");
    build("log/unheard_of.rs", "use crate::unheard_of::Thing;");
    build("cellar/mod.rs", "");
    let broken = broken_rules(house.path()).join("\n");
    for expected in
        ["model/run.rs uses store", "store/open.rs uses log", "redb", "unsafe", "libc", "uses unheard_of", "cellar has no floor"]
    {
        assert!(broken.contains(expected), "no word of `{expected}` in:\n{broken}");
    }
}

fn broken_rules(src: &Path) -> Vec<String> {
    let mut broken = Vec::new();
    for path in files_below(src, "rs") {
        let inside = path.strip_prefix(src).expect("a file of the tree");
        let parts: Vec<_> = inside.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let room = parts[0].as_str();
        let code = code_of(&fs::read_to_string(&path).expect("a source file"));
        let name = inside.display();
        for (word, home) in KEPT_WORDS {
            if room != *home && words(&code).any(|found| found == *word) {
                broken.push(format!("{name} says `{word}`; only {home}/ may"));
            }
        }
        if room == "lib" {
            continue;
        }
        let Some(floor) = floor_of(room) else {
            broken.push(format!("{room} has no floor yet; give it one in tests/house/floors.rs"));
            continue;
        };
        let depth = if parts.last().is_some_and(|last| last == "mod") { parts.len() - 1 } else { parts.len() };
        for used in rooms_used(&code, depth) {
            match floor_of(&used) {
                _ if used == room => {}
                Some(below) if below > floor => {}
                Some(_) => broken.push(format!("{name} uses {used}, which stands above {room}")),
                None => broken.push(format!("{name} uses {used}, which has no floor")),
            }
        }
    }
    broken
}

fn floor_of(room: &str) -> Option<usize> {
    ROOMS.iter().position(|one| *one == room)
}

/// First names of all paths that begin at the crate's root, as code in a module so deep writes them.
fn rooms_used(source: &str, depth: usize) -> BTreeSet<String> {
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
        // A path that goes further up, or names an item of the root itself, is no room.
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

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// The source without comments and without what stands in strings.
fn code_of(source: &str) -> String {
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
