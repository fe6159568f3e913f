//! Links within the repository lead to files and headings that exist.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{files_below, root};

#[test]
fn internal_links_have_targets() {
    let dead: Vec<_> = pages().iter().flat_map(|page| dead_links(page)).collect();
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

#[test]
fn a_dead_link_is_seen() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("other.md"), "# One heading, of `two`\n").expect("a file");
    let page = directory.path().join("page.md");
    let text = "[a](other.md) [b](other.md#one-heading-of-two) [c](#here) [d](https://example.org/x)\n```\n[e](code.md)\n```\n# Here\n";
    fs::write(&page, text).expect("a file");
    assert_eq!(dead_links(&page), Vec::<String>::new());
    fs::write(&page, "[a](missing.md) [b](other.md#nowhere) [c](#gone)\n").expect("a file");
    assert_eq!(dead_links(&page).len(), 3);
}

#[test]
fn the_tests_that_the_docs_name_exist() {
    for name in ["docs/architecture.md", "docs/security.md"] {
        let page = fs::read_to_string(root().join(name)).expect("the page");
        let named: Vec<(&str, &str)> = page.split('`').skip(1).step_by(2).filter_map(|code| code.rsplit_once("::")).collect();
        assert!(named.len() > 20, "{name} names its tests as `file::test`");
        let missing: Vec<_> = named
            .iter()
            .filter(|(file, test)| {
                // A file is named by its path, or by its module in tests/integration.
                let path =
                    if file.contains('/') { (*file).to_owned() } else { format!("tests/integration/{}.rs", file.replace("::", "/")) };
                let source = fs::read_to_string(root().join(path)).unwrap_or_default();
                !source.contains(&format!("fn {test}("))
            })
            .collect();
        assert!(missing.is_empty(), "{name} names tests that do not exist: {missing:?}");
    }
}

fn pages() -> Vec<PathBuf> {
    let top = fs::read_dir(root()).expect("the repository").map(|entry| entry.expect("an entry").path());
    let mut pages: Vec<_> = top.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    pages.extend(files_below(&root().join("docs"), "md"));
    pages.extend(files_below(&root().join("editors"), "md").into_iter().filter(|path| !path.iter().any(|part| part == "node_modules")));
    pages
}

fn dead_links(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).expect("a page");
    let prose = without_code(&text);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let inside = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
    inside.filter(|target| !leads_somewhere(page, target)).map(|target| format!("{}: {target}", page.display())).collect()
}

fn leads_somewhere(page: &Path, target: &str) -> bool {
    let (file, heading) = target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
    let path = if file.is_empty() { page.to_owned() } else { page.parent().expect("a page has a directory").join(file) };
    let Some(heading) = heading.filter(|_| path.extension().is_some_and(|extension| extension == "md")) else { return path.exists() };
    let Ok(text) = fs::read_to_string(&path) else { return false };
    without_code(&text).lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading)
}

/// The anchor that a forge gives a heading.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

fn without_code(text: &str) -> String {
    let mut inside = false;
    let keep = |line: &&str| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    };
    text.lines().filter(keep).collect::<Vec<_>>().join("\n")
}
