//! The items of one run as a client keeps them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub(crate) struct Items {
    pub run: String,
    pub by_number: BTreeMap<u64, Value>,
    /// The `seq` of the last notification, or of the page that the items came with.
    pub seq: u64,
    /// How many notifications came.
    pub taken: usize,
}

impl Items {
    pub(crate) fn of(run: &str) -> Self {
        Self { run: run.to_owned(), by_number: BTreeMap::new(), seq: 0, taken: 0 }
    }

    /// Takes the params of a `run/item`.
    pub(crate) fn take(&mut self, params: &Value) {
        self.taken += 1;
        self.seq = params["seq"].as_u64().expect("a number");
        let item = &params["item"];
        if item.is_object() {
            self.by_number.insert(item["item"].as_u64().expect("a number"), item.clone());
            return;
        }
        let known =
            self.by_number.get_mut(&item.as_u64().expect("a number")).expect("nothing is appended to what the client does not have");
        known["lastSeq"] = json!(self.seq);
        let append = &params["append"];
        if let Some(text) = append["text"].as_str() {
            known["text"] = json!(format!("{}{text}", known["text"].as_str().expect("a text")));
        }
        for name in ["output", "stderr"] {
            let Some(text) = append[name]["text"].as_str() else { continue };
            let output = &mut known[name];
            let mut whole = output["text"].as_str().expect("a text").to_owned();
            let drop = append[name]["dropBytes"].as_u64().unwrap_or_default();
            if drop > 0 {
                let from = usize::try_from(output["omittedAt"].as_u64().expect("something is omitted already")).expect("a length");
                whole.drain(from..from + usize::try_from(drop).expect("a length"));
                output["omittedBytes"] = json!(output["omittedBytes"].as_u64().expect("a number") + drop);
            }
            output["text"] = json!(whole + text);
        }
    }

    pub(crate) fn all(&self) -> Vec<Value> {
        self.by_number.values().cloned().collect()
    }

    pub(crate) fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.by_number.values().filter(|item| item["kind"] == kind).collect()
    }

    /// Whether the run has ended.
    pub(crate) fn is_final(&self) -> bool {
        let ends = |state: &Value| ["succeeded", "failed", "cancelled", "timedOut", "lost"].iter().any(|end| state == end);
        self.of_kind("turn").iter().any(|turn| ends(&turn["state"]))
    }
}
