//! `loomd rules`: the remembered answers, in a terminal and without one.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::{agents::plain, home::Home};

impl Home {
    fn rules_file(&self) -> std::path::PathBuf {
        self.path("config/loomd/rules.json")
    }

    fn write_rules(&self, text: &str) {
        fs::create_dir_all(self.path("config/loomd")).expect("made");
        fs::write(self.rules_file(), text).expect("written");
        fs::set_permissions(self.rules_file(), PermissionsExt::from_mode(0o600)).expect("its mode is set");
    }
}

const OLD: &str = r#"{"version": 1, "rules": [
    {"decision": "allow", "kind": "execute", "command": "make *"},
    {"decision": "allow", "kind": "execute", "command": "rm *"},
    {"decision": "deny", "path": "/etc/*"}]}"#;

#[test]
fn rules_are_added_listed_and_removed() {
    let home = Home::new();
    assert_eq!(home.stdout(&["rules"]), "");
    let added = home.stdout(&["rules", "add", "allow", "--path", "src/**", "--tool-kind", "edit", "--cwd", "."]);
    let folder = home.dir.path().canonicalize().expect("it is there").display().to_string();
    let expected = format!(r#"allow kind "edit" path "{folder}/src/**" in "{folder}""#);
    assert!(added.starts_with("Added ") && added.ends_with(&format!(": {expected}\n")), "{added}");
    home.stdout(&["rules", "add", "deny", "--", "rm", "-rf", "*"]);
    let list = home.stdout(&["rules", "list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines.len() == 2 && lines[0].ends_with(&expected) && lines[1].ends_with(r#"deny argv ["rm","-rf","*"]"#), "{list}");
    let id = lines[0].split(' ').next().expect("an id");
    assert_eq!(home.stdout(&["rules", "remove", id]), format!("Removed {id}\n"));
    let json = home.stdout(&["rules", "--json"]);
    assert!(json.lines().count() == 1 && json.contains(r#""command":["rm","-rf","*"]"#), "{json}");
    let refused = home.loomd(&["rules", "add", "allow", "--tool-kind", "edit"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("needs a `command` or a `path`"));
}

#[test]
fn old_rules_are_taken_over_one_by_one_by_a_person() {
    let home = Home::new();
    home.write_rules(OLD);
    // Nobody is there who could say yes.
    let refused = home.loomd(&["rules", "import"]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("needs a terminal"));
    // Whoever leaves in between has changed nothing.
    let mut terminal = home.terminal(&["rules", "import"]);
    terminal.shows("Take it over? [y/N] ");
    terminal.press(b"y\n");
    terminal.shows("Rule 2 of 3");
    terminal.shows("[y/N] ");
    terminal.press(b"\x04");
    assert_ne!(terminal.ends(), 0);
    assert_eq!(fs::read_to_string(home.rules_file()).expect("a file"), OLD);
    let mut terminal = home.terminal(&["rules", "import"]);
    let shown = plain(&terminal.shows("[y/N] "));
    assert!(shown.contains(r#"Rule 1 of 3: allow kind "execute" command "make *""#), "{shown}");
    terminal.press(b"y\n");
    terminal.shows("[y/N] ");
    terminal.press(b"\n");
    assert!(plain(&terminal.shows("[y/N] ")).contains(r#"Rule 3 of 3: deny path "/etc/**""#));
    terminal.press(b"y\n");
    terminal.shows("Took over 2 of 3 rules");
    assert_eq!(terminal.ends(), 0);
    let list = home.stdout(&["rules"]);
    assert!(list.lines().count() == 2 && list.contains("make *") && list.contains("/etc/**") && !list.contains("rm *"), "{list}");
    assert_eq!(fs::read_to_string(home.path("config/loomd/rules.version-1.json")).expect("it is kept"), OLD);
}
