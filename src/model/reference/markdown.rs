//! Generates the protocol reference, `docs/protocol.md`: the sections of [`prose`], and tables made from the types.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::{GENERAL_FAILURES, NOTIFICATIONS, Origin, json_schema, prose, tables};
use crate::model::{FailureKind, Kind, METHODS};

/// The whole reference, in Markdown.
pub fn markdown() -> String {
    let schema = json_schema();
    let mut page = MarkdownPage { types: schema["$defs"].as_object().expect("the schema has types"), text: String::new() };
    page.text.push_str(prose::INTRODUCTION);
    page.contents();
    page.text.push_str(prose::TRANSPORT);
    page.methods(&schema["methods"]);
    page.notifications();
    page.text.push_str(prose::LOG);
    page.text.push_str(prose::TERMINALS);
    page.text.push_str(prose::SEARCH);
    page.text.push_str(prose::AGENTS);
    page.text.push_str(prose::ITEMS);
    page.types();
    page.failures();
    page.text.push_str(prose::GUARANTEES);
    page.text
}

struct MarkdownPage<'a> {
    types: &'a Map<String, Value>,
    text: String,
}

impl MarkdownPage<'_> {
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
            self.line(&format!("### {}\n\n{}\n", method.name, tables::filled(method.description)));
            self.message_part("Params", &schema["params"]);
            self.message_part("Result", &schema["result"]);
            if !method.failures.is_empty() {
                let failures = format!("Failures of this method: {}.", names_of(method.failures));
                self.line(&format!("{}\n", tables::filled(&failures)));
            }
        }
    }

    /// The members of the params or the result of a method.
    fn message_part(&mut self, part: &str, schema: &Value) {
        let Some(name) = tables::reference_name(schema) else {
            return self.line(&format!("{part}: `{}`.\n", tables::type_of(schema)));
        };
        let definition = &self.types[name];
        if definition["properties"].as_object().is_none_or(Map::is_empty) {
            let empty = if part == "Params" { "none" } else { "`{}`" };
            return self.line(&format!("{part}: {empty}.\n"));
        }
        self.line(&format!("{part}:\n"));
        self.text.push_str(&tables::members(definition));
    }

    fn notifications(&mut self) {
        for (origin, title) in [(Origin::Client, "Notifications from the client"), (Origin::Server, "Notifications from the server")] {
            self.line(&format!("## {title}\n\n| | params | |\n|---|---|---|"));
            for notification in NOTIFICATIONS.iter().filter(|notification| notification.from == origin) {
                let kind = Kind::ALL.iter().copied().find(|kind| kind.method() == notification.name);
                let params = match (kind, notification.name) {
                    (Some(kind), _) => self.entry_type(kind),
                    (None, "run/changed") => "`{ run:` [Run](#run) `}`".to_owned(),
                    (None, "run/item") => {
                        "`{ runId, seq, item:` [Item](#item) `}` or `{ runId, seq, item, append:` [ItemAppend](#itemappend) `}`".to_owned()
                    }
                    (None, "run/deleted") => "`{ runIds:` [ [RunId](#runid) ] `}`".to_owned(),
                    (None, "$/cancelRequest") => "`{ id }`: the request's id".to_owned(),
                    (None, _) => "none".to_owned(),
                };
                self.line(&format!("| `{}` | {params} | {} |", notification.name, notification.description));
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
        self.line("A member with `?` may be absent. In params, null means the same as absent.\n");
        let is_shown_elsewhere =
            |name: &str| name.ends_with("Params") || name.ends_with("Result") || matches!(name, "Empty" | "ErrorData" | "FailureKind");
        for (name, definition) in self.types.iter().filter(|(name, _)| !is_shown_elsewhere(name)) {
            self.line(&format!("### {name}\n"));
            self.text.push_str(&tables::definition(definition));
        }
    }

    fn failures(&mut self) {
        self.text.push_str(prose::FAILURES);
        let any = format!("Any request may be answered with {}.", names_of(GENERAL_FAILURES));
        self.line(&format!("{}\n", tables::filled(&any)));
        self.line("| code | `data.kind` | other members of `data` |\n|---|---|---|");
        for kind in FailureKind::ALL.iter().copied() {
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
    fn every_method_notification_and_failure_is_in_the_reference() {
        let page = markdown();
        for method in METHODS {
            assert!(page.contains(&format!("\n### {}\n", method.name)), "{}", method.name);
        }
        for notification in NOTIFICATIONS {
            assert!(page.contains(&format!("\n| `{}` |", notification.name)), "{}", notification.name);
        }
        for kind in FailureKind::ALL.iter().copied() {
            assert!(page.contains(&format!("| {} | `{}` |", kind.code(), kind.as_str())), "{kind:?}");
        }
    }

    #[test]
    fn text_outside_of_tables_has_at_most_120_columns() {
        for line in markdown().lines().filter(|line| !line.starts_with('|')) {
            assert!(line.chars().count() <= 120, "{line}");
        }
    }

    #[test]
    fn a_line_break_in_a_doc_comment_ends_no_row_of_a_table() {
        let page = markdown();
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with('|')).collect();
        assert!(rows.len() > 100, "only {} rows were looked at", rows.len());
        for row in rows {
            assert!(row.ends_with('|'), "{row}");
        }
    }

    #[test]
    fn every_link_leads_to_a_heading() {
        let page = markdown();
        let anchor = |heading: &str| -> String {
            let lower = heading.to_lowercase().replace(' ', "-");
            lower.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
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
