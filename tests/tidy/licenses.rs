//! Every dependency that is linked into loomd has a license that requires no more than a notice, is locked, and has one
//! version unless `deny.toml` says otherwise.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

use super::root;

/// The same list is in `deny.toml`, for cargo-deny.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

#[test]
fn every_dependency_has_a_license_that_we_can_keep() {
    // The host's dependencies were fetched to build this test, so nothing has to be fetched now.
    let version = cargo(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo names its host");
    let metadata = cargo(&["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo prints JSON");
    let used: Vec<_> = metadata["resolve"]["nodes"].as_array().expect("nodes").iter().map(|node| &node["id"]).collect();
    assert!(used.len() > 100, "only {} packages were looked at", used.len());
    let packages = metadata["packages"].as_array().expect("packages");
    let refused: Vec<_> = packages
        .iter()
        .filter(|package| used.contains(&&package["id"]))
        .filter(|package| !package["license"].as_str().is_some_and(may_be_used))
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "licenses that are not on the list:\n{}", refused.join("\n"));
}

#[test]
fn cargo_deny_has_the_same_list() {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    let config: toml::Table = text.parse().expect("deny.toml is TOML");
    let allowed: Vec<_> = config["licenses"]["allow"].as_array().expect("a list").iter().filter_map(|name| name.as_str()).collect();
    assert_eq!(allowed, ALLOWED);
}

#[test]
fn a_dependency_has_one_version_unless_it_is_named() {
    let read = |name: &str| -> toml::Table { std::fs::read_to_string(root().join(name)).expect("a file").parse().expect("it is TOML") };
    let mut versions: BTreeMap<String, usize> = BTreeMap::new();
    for package in read("Cargo.lock")["package"].as_array().expect("packages") {
        *versions.entry(package["name"].as_str().expect("a name").to_owned()).or_default() += 1;
    }
    let twice: Vec<&str> = versions.iter().filter(|(_, count)| **count > 1).map(|(name, _)| name.as_str()).collect();
    let config = read("deny.toml");
    let skipped: Vec<&str> =
        config["bans"]["skip"].as_array().expect("a list").iter().filter_map(|entry| entry["crate"].as_str()).collect();
    assert_eq!(twice, skipped, "the list in deny.toml is that of the lock file");
}

#[test]
fn the_npm_lock_has_a_checksum_for_each_package() {
    let text = std::fs::read_to_string(root().join("editors/vscode/package-lock.json")).expect("the lock");
    let lock: Value = serde_json::from_str(&text).expect("it is JSON");
    let packages = lock["packages"].as_object().expect("packages");
    let is_locked = |package: &Value| package["integrity"].as_str().is_some_and(|sum| sum.starts_with("sha512-"));
    let open: Vec<_> = packages.iter().filter(|(path, package)| !path.is_empty() && !is_locked(package)).map(|(path, _)| path).collect();
    assert!(packages.len() > 100 && open.is_empty(), "packages without a checksum: {open:?}");
}

#[test]
fn expressions_are_understood() {
    for good in ["MIT", "MIT OR GPL-3.0", "(GPL-2.0 OR MIT) AND ISC", "MIT/Apache-2.0", "Apache-2.0 WITH LLVM-exception OR GPL-3.0"] {
        assert!(may_be_used(good), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND LGPL-2.1", "", "Apache-2.0 WITH Other-exception", "MIT OR"] {
        assert!(!may_be_used(bad), "{bad}");
    }
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// Whether an SPDX expression leaves us a choice that is on the list.
fn may_be_used(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any_of(&mut rest).is_some_and(|usable| usable && rest.is_empty())
}

fn any_of(rest: &mut &[&str]) -> Option<bool> {
    let mut usable = all_of(rest)?;
    while take(rest, "OR") {
        usable |= all_of(rest)?;
    }
    Some(usable)
}

fn all_of(rest: &mut &[&str]) -> Option<bool> {
    let mut usable = one(rest)?;
    while take(rest, "AND") {
        usable &= one(rest)?;
    }
    Some(usable)
}

fn one(rest: &mut &[&str]) -> Option<bool> {
    if take(rest, "(") {
        let usable = any_of(rest)?;
        return take(rest, ")").then_some(usable);
    }
    let (name, after) = rest.split_first()?;
    *rest = after;
    if take(rest, "WITH") {
        let (exception, after) = rest.split_first()?;
        *rest = after;
        return Some(ALLOWED.contains(&format!("{name} WITH {exception}").as_str()));
    }
    Some(ALLOWED.contains(name))
}

fn take(rest: &mut &[&str], word: &str) -> bool {
    let is_next = rest.first() == Some(&word);
    if is_next {
        *rest = &rest[1..];
    }
    is_next
}
