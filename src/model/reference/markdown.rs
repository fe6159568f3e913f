//! The protocol reference, `docs/protocol.md`: prose that no type can carry, around tables made from the types.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::{GENERAL_FAILURES, METHODS, NOTIFICATIONS, Party, json_schema, prose, tables};
use crate::model::{FailureKind, Kind};

/// The whole reference.
pub fn markdown() -> String {
    let schema = json_schema();
    let mut page = Page { types: schema["$defs"].as_object().expect("the schema has types"), text: String::new() };
    page.text.push_str(prose::HEAD);
    page.contents();
    page.text.push_str(prose::TRANSPORT);
    page.methods(&schema["methods"]);
    page.notifications();
    page.text.push_str(prose::LOG);
    page.text.push_str(prose::SEARCH);
    page.text.push_str(prose::AGENTS);
    page.types();
    page.failures();
    page.text.push_str(prose::GUARANTEES);
    page.text
}

struct Page<'a> {
    types: &'a Map<String, Value>,
    text: String,
}

impl Page<'_> {
    fn contents(&mut self) {
        for method in METHODS {
            let anchor = method.name.replace('/', "").to_lowercase();
            self.line(&format!("- [`{}`](#{anchor})", method.name));
        }
        self.line("");
    }

    fn methods(&mut self, schemas: &Value) {
        let mut group = "";
        for method in METHODS {
            if method.group != group {
                group = method.group;
                self.line(&format!("## {group}\n"));
            }
            let schema = &schemas[method.name];
            self.line(&format!("### {}\n\n{}\n", method.name, method.about));
            self.message("Params", &schema["params"]);
            self.message("Result", &schema["result"]);
            if !method.failures.is_empty() {
                self.line(&format!("Failures of its own: {}.\n", names_of(method.failures)));
            }
        }
    }

    /// The members of a message's params or result.
    fn message(&mut self, what: &str, schema: &Value) {
        let Some(name) = tables::reference_name(schema) else {
            return self.line(&format!("{what}: `{}`.\n", tables::type_of(schema)));
        };
        let definition = &self.types[name];
        if definition["properties"].as_object().is_none_or(Map::is_empty) {
            let nothing = if what == "Params" { "none" } else { "`{}`" };
            return self.line(&format!("{what}: {nothing}.\n"));
        }
        self.line(&format!("{what}:\n"));
        self.text.push_str(&tables::members(definition));
    }

    fn notifications(&mut self) {
        for (party, title) in [(Party::Client, "Notifications from the client"), (Party::Server, "Notifications from the server")] {
            self.line(&format!("## {title}\n\n| | params | |\n|---|---|---|"));
            for notification in NOTIFICATIONS.iter().filter(|notification| notification.from == party) {
                let kind = Kind::ALL.into_iter().find(|kind| kind.method() == notification.name);
                let params = match (kind, notification.name) {
                    (Some(kind), _) => self.entry_type(kind),
                    (None, "run/changed") => "`{ run:` [Run](#run) `}`".to_owned(),
                    (None, "run/deleted") => "`{ runIds:` [ [RunId](#runid) ] `}`".to_owned(),
                    (None, "$/cancelRequest") => "`{ id }`: the request's id".to_owned(),
                    (None, _) => "none".to_owned(),
                };
                self.line(&format!("| `{}` | {params} | {} |", notification.name, notification.about));
            }
            self.line("");
        }
    }

    fn entry_type(&self, kind: Kind) -> String {
        let variants = self.types["Entry"]["oneOf"].as_array().expect("an entry is one of its kinds");
        let variant = variants.iter().find(|variant| variant["properties"]["kind"]["const"] == kind.as_str());
        tables::type_of(variant.expect("every kind has its entry"))
    }

    fn types(&mut self) {
        self.line("## Types\n");
        self.line("A member with `?` may be absent; in params, null means the same.\n");
        let is_shown_elsewhere =
            |name: &str| name.ends_with("Params") || name.ends_with("Result") || matches!(name, "Empty" | "ErrorData" | "FailureKind");
        for (name, definition) in self.types.iter().filter(|(name, _)| !is_shown_elsewhere(name)) {
            self.line(&format!("### {name}\n"));
            self.text.push_str(&tables::definition(definition));
        }
    }

    fn failures(&mut self) {
        self.text.push_str(prose::FAILURES);
        self.line(&format!("Any request may answer with {}.\n", names_of(GENERAL_FAILURES)));
        self.line("| code | `data.kind` | more in `data` |\n|---|---|---|");
        for kind in FailureKind::ALL {
            let members: Vec<_> = kind.members().iter().map(|member| format!("`{member}`")).collect();
            self.line(&format!("| {} | `{}` | {} |", kind.code(), kind.as_str(), members.join(", ")));
        }
        self.line("");
    }

    fn line(&mut self, text: &str) {
        writeln!(self.text, "{text}").expect("writing to a string cannot fail");
    }
}

fn names_of(kinds: &[FailureKind]) -> String {
    kinds.iter().map(|kind| format!("`{}`", kind.as_str())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_type_and_failure_has_its_place() {
        let page = markdown();
        for method in METHODS {
            assert!(page.contains(&format!("\n### {}\n", method.name)), "{}", method.name);
        }
        for notification in NOTIFICATIONS {
            assert!(page.contains(&format!("\n| `{}` |", notification.name)), "{}", notification.name);
        }
        for kind in FailureKind::ALL {
            assert!(page.contains(&format!("| {} | `{}` |", kind.code(), kind.as_str())), "{kind:?}");
        }
    }

    #[test]
    fn every_link_leads_to_a_heading() {
        let page = markdown();
        let anchor = |heading: &str| -> String {
            let kept = heading.to_lowercase().replace(' ', "-");
            kept.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
        };
        let headings: Vec<_> =
            page.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_matches(['#', ' ']))).collect();
        let links: Vec<_> = page.split("](#").skip(1).map(|rest| &rest[..rest.find(')').expect("a link ends")]).collect();
        assert!(links.len() > 50, "only {} links were looked at", links.len());
        for link in links {
            assert!(headings.iter().any(|heading| heading == link), "no heading for #{link}");
        }
    }
}
