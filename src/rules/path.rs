//! Paths of rules and of tool calls: resolved, and matched folder by folder.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// As many links of a path are followed, as Linux does.
const MAX_LINKS: u32 = 40;

/// Files and folders by which a file's writer gets to run programs or to change what an agent may do, as an editor, a shell, an
/// agent, git or CI reads them. No star of an allow stands for them, and `acceptEdits` does not accept changes of them.
const SENSITIVE_NAMES: &[&str] = &[
    // Version control
    ".git",
    ".gitattributes",
    ".gitconfig",
    ".githooks",
    ".gitmodules",
    ".hg",
    ".hgrc",
    ".husky",
    ".jj",
    ".lefthook.yml",
    ".svn",
    "lefthook.yml",
    ".pre-commit-config.yaml",
    ".pre-commit-config.yml",
    // Editors
    ".devcontainer",
    ".devcontainer.json",
    ".dir-locals.el",
    ".emacs",
    ".emacs.d",
    ".exrc",
    ".fleet",
    ".helix",
    ".idea",
    ".nvim.lua",
    ".nvimrc",
    ".sublime-project",
    ".vim",
    ".vimrc",
    ".gvimrc",
    ".vscode",
    ".vscode-server",
    ".zed",
    // Shells, and what they read at their start
    ".bash_aliases",
    ".bash_login",
    ".bash_logout",
    ".bash_profile",
    ".bashrc",
    ".cshrc",
    ".direnv",
    ".env",
    ".envrc",
    ".inputrc",
    ".kshrc",
    ".login",
    ".logout",
    ".mkshrc",
    ".pam_environment",
    ".profile",
    ".tcshrc",
    ".tool-versions",
    ".xinitrc",
    ".xprofile",
    ".xsession",
    ".zlogin",
    ".zlogout",
    ".zprofile",
    ".zshenv",
    ".zshrc",
    ".oh-my-zsh",
    "config.fish",
    ".tmux.conf",
    ".mise.toml",
    "mise.toml",
    ".mise",
    // Agents
    ".agents",
    ".aider.conf.yml",
    ".amp",
    ".claude",
    ".claude.json",
    ".clinerules",
    ".codex",
    ".continue",
    ".copilot",
    ".cursor",
    ".cursorrules",
    ".gemini",
    ".goose",
    ".kiro",
    ".mcp.json",
    ".opencode",
    ".qwen",
    ".roo",
    ".windsurf",
    ".windsurfrules",
    "mcp.json",
    "opencode.json",
    "opencode.jsonc",
    // CI
    ".appveyor.yml",
    ".azure-pipelines",
    ".buildkite",
    ".ci",
    ".circleci",
    ".cirrus.yml",
    ".drone.yml",
    ".forgejo",
    ".gitea",
    ".github",
    ".gitlab",
    ".gitlab-ci.yml",
    ".semaphore",
    ".travis.yml",
    ".woodpecker",
    ".woodpecker.yml",
    ".woodpecker.yaml",
    "appveyor.yml",
    "azure-pipelines.yml",
    "azure-pipelines.yaml",
    "bitbucket-pipelines.yml",
    "jenkinsfile",
    // Keys, autostart, and what package managers and build tools run
    ".aws",
    ".cargo",
    ".docker",
    ".gnupg",
    ".kube",
    ".local",
    ".config",
    ".netrc",
    ".npmrc",
    ".pnpmfile.cjs",
    ".pypirc",
    ".ssh",
    ".yarnrc",
    ".yarnrc.yml",
    "authorized_keys",
    "autostart",
    "launchagents",
];

/// Whether a folder or file of this name is one of [`SENSITIVE_NAMES`]. File systems may not tell upper from lower case.
fn is_sensitive(name: &str) -> bool {
    let name = name.to_lowercase();
    SENSITIVE_NAMES.contains(&name.as_str()) || name.ends_with(".code-workspace")
}

/// Whether the path is a sensitive one, below `folder`; `folder` itself may lie anywhere.
pub(super) fn is_sensitive_below(path: &Path, folder: &Path) -> bool {
    let Ok(below) = path.strip_prefix(folder) else { return true };
    below.components().any(|part| part.as_os_str().to_str().is_none_or(is_sensitive))
}

/// Whether an allow with this pattern is about this resolved path.
pub(super) fn allows(pattern: &str, path: &Path) -> bool {
    path.to_str().is_some_and(|path| parts_match(pattern, path, &|name| !is_sensitive(name), false))
}

/// Whether a deny with this pattern is about this path, or about the folder that the pattern is about.
pub(super) fn denies(pattern: &str, path: &Path) -> bool {
    parts_match(pattern, &path.to_string_lossy(), &|_| true, true)
}

/// Matches a path folder by folder, from its end. `may_be_starred`: whether a star may stand for a folder of this name.
/// `takes_folder`: whether `**` at the end also stands for no folder at all.
fn parts_match(pattern: &str, path: &str, may_be_starred: &dyn Fn(&str) -> bool, takes_folder: bool) -> bool {
    let pattern: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    let names: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    // matches[n]: whether what is left of the pattern matches the names from the n-th on.
    let mut matches: Vec<bool> = (0..=names.len()).map(|at| at == names.len()).collect();
    for (index, part) in pattern.iter().enumerate().rev() {
        let is_last = index + 1 == pattern.len();
        let mut before = vec![false; names.len() + 1];
        for at in (0..=names.len()).rev() {
            before[at] = match names.get(at) {
                _ if *part == "**" && is_last => (takes_folder || at < names.len()) && names[at..].iter().all(|name| may_be_starred(name)),
                Some(name) if *part == "**" => matches[at] || (may_be_starred(name) && before[at + 1]),
                None => *part == "**" && matches[at],
                Some(name) if part.contains('*') => may_be_starred(name) && name_matches(part, name) && matches[at + 1],
                Some(name) => part == name && matches[at + 1],
            };
        }
        matches = before;
    }
    matches[0]
}

/// Matches the name of a file or folder; a star stands for anything.
fn name_matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The path with every link and `..` resolved, as the system will follow it. What does not exist yet stays as it is named.
/// An error: nobody can say where the path leads.
pub(super) fn resolve(path: &Path) -> io::Result<PathBuf> {
    let parts = |path: &Path| -> Vec<OsString> { path.components().map(|part| part.as_os_str().to_owned()).collect() };
    let mut waiting: VecDeque<OsString> = parts(path).into();
    let mut resolved = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = waiting.pop_front() {
        match Path::new(&part).components().next() {
            Some(Component::RootDir) => resolved = PathBuf::from("/"),
            Some(Component::ParentDir) => drop(resolved.pop()),
            Some(Component::Normal(name)) => {
                let next = resolved.join(name);
                match fs::symlink_metadata(&next) {
                    Ok(metadata) if metadata.is_symlink() => {
                        links += 1;
                        if links > MAX_LINKS {
                            return Err(io::Error::other("too many links"));
                        }
                        parts(&fs::read_link(&next)?).into_iter().rev().for_each(|part| waiting.push_front(part));
                    }
                    Ok(_) => resolved = next,
                    Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => resolved = next,
                    Err(error) => return Err(error),
                }
            }
            _ => {}
        }
    }
    Ok(resolved)
}

/// A pattern whose folders before the first star are resolved, so that it still means the same files.
pub(super) fn resolve_pattern(pattern: &str) -> String {
    if !pattern.starts_with('/') {
        return pattern.to_owned();
    }
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    let fixed = parts.iter().position(|part| part.contains('*')).unwrap_or(parts.len());
    let folder = PathBuf::from(format!("/{}", parts[..fixed].join("/")));
    let resolved = resolve(&folder).unwrap_or(folder);
    let Some(resolved) = resolved.to_str() else { return pattern.to_owned() };
    let rest = parts[fixed..].iter().map(|part| format!("/{part}")).collect::<String>();
    if rest.is_empty() { resolved.to_owned() } else { format!("{}{rest}", resolved.trim_end_matches('/')) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop, prop_assert_eq, proptest};

    use super::*;

    /// Every way to give folders to the stars, one after the other.
    fn matches_slowly(pattern: &[&str], names: &[&str]) -> bool {
        let free = names.iter().take_while(|name| !is_sensitive(name)).count();
        match pattern {
            [] => names.is_empty(),
            ["**"] => !names.is_empty() && free == names.len(),
            ["**", rest @ ..] => (0..=free).any(|taken| matches_slowly(rest, &names[taken..])),
            [part, rest @ ..] => {
                let is_match =
                    |name: &str| if part.contains('*') { !is_sensitive(name) && name_matches(part, name) } else { *part == name };
                names.first().is_some_and(|name| is_match(name)) && matches_slowly(rest, &names[1..])
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_path_is_matched_as_by_trying_everything(
            pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "**", "a*", ".git", "*b*"]), 0..6),
            names in prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", ".git", ".GIT", "abab"]), 0..6),
        ) {
            let (joined, path) = (format!("/{}", pattern.join("/")), format!("/{}", names.join("/")));
            prop_assert_eq!(allows(&joined, Path::new(&path)), matches_slowly(&pattern, &names));
        }
    }

    #[test]
    fn names_are_matched_whole() {
        for (pattern, name, expected) in [
            ("a", "a", true),
            ("*.rs", "a.rs", true),
            ("*.rs", ".rs", true),
            ("*.rs", "a.rsx", false),
            ("a*a", "a", false),
            ("a*b*c", "axbyc", true),
            ("a*b*c", "acb", false),
        ] {
            assert_eq!(name_matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_path_that_leads_nowhere_certain_is_an_error() {
        let folder = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink("round", folder.path().join("round")).expect("a link");
        resolve(&folder.path().join("round/x")).expect_err("it goes round");
        assert_eq!(resolve(Path::new("/none/such/../x/./y/../..")).expect("it is certain"), Path::new("/none"));
        assert_eq!(resolve(Path::new("/../..")).expect("it is certain"), Path::new("/"));
    }
}
