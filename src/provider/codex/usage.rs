//! What a turn used. Codex tells totals of a thread, over resumes too; a turn's own share is what they grew by.

use std::{collections::BTreeMap, ops::Sub};

use serde_json::Value;

use crate::model::Usage;

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    input: u64,
    output: u64,
    cached: u64,
}

/// The totals of the run's thread and of its sub-agents'.
#[derive(Debug, Default)]
pub struct Usages {
    before: BTreeMap<String, Totals>,
    now: BTreeMap<String, Totals>,
    grew: bool,
}

impl Usages {
    /// A thread's `tokenUsage`. `in_turn`: it is the running turn's doing.
    pub fn told(&mut self, thread: &str, usage: &Value, in_turn: bool) {
        let total = Totals::of(&usage["total"]);
        let before = if in_turn { total - Totals::of(&usage["last"]) } else { total };
        if in_turn {
            // A thread that is first heard of in a turn may have a history; `last` alone is new of it.
            self.before.entry(thread.to_owned()).or_insert(before);
        } else {
            self.before.insert(thread.to_owned(), before);
        }
        self.now.insert(thread.to_owned(), total);
        self.grew |= in_turn;
    }

    /// The turn is over: what it used, if anything was told.
    pub fn turn_ended(&mut self) -> Option<Usage> {
        let used = self.now.iter().map(|(thread, now)| *now - self.before.get(thread).copied().unwrap_or_default());
        let sum = used.fold(Totals::default(), |sum, used| Totals {
            input: sum.input.saturating_add(used.input),
            output: sum.output.saturating_add(used.output),
            cached: sum.cached.saturating_add(used.cached),
        });
        self.before = self.now.clone();
        std::mem::take(&mut self.grew).then_some(Usage {
            input_tokens: Some(sum.input),
            output_tokens: Some(sum.output),
            cached_input_tokens: Some(sum.cached),
            cost_usd: None,
        })
    }
}

impl Totals {
    fn of(counts: &Value) -> Self {
        let count = |name: &str| counts[name].as_u64().unwrap_or_default();
        Self { input: count("inputTokens"), output: count("outputTokens"), cached: count("cachedInputTokens") }
    }
}

impl Sub for Totals {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            input: self.input.saturating_sub(before.input),
            output: self.output.saturating_sub(before.output),
            cached: self.cached.saturating_sub(before.cached),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn usage(total: u64, last: u64) -> Value {
        let counts = |input: u64| json!({ "inputTokens": input, "outputTokens": input / 10, "cachedInputTokens": 1 });
        json!({ "total": counts(total), "last": counts(last) })
    }

    fn input(usages: &mut Usages) -> Option<u64> {
        usages.turn_ended().and_then(|usage| usage.input_tokens)
    }

    #[test]
    fn each_turn_has_its_own_share() {
        let mut usages = Usages::default();
        usages.told("t", &usage(1000, 1000), true);
        usages.told("t", &usage(3000, 2000), true);
        assert_eq!(input(&mut usages), Some(3000));
        usages.told("t", &usage(3500, 500), true);
        assert_eq!(input(&mut usages), Some(500));
        assert_eq!(input(&mut usages), None, "nothing was told of a third turn");
    }

    #[test]
    fn what_was_used_before_the_run_is_not_its_own() {
        let mut usages = Usages::default();
        usages.told("t", &usage(2000, 1000), false);
        usages.told("t", &usage(2600, 600), true);
        assert_eq!(input(&mut usages), Some(600));
        let mut silent = Usages::default();
        silent.told("t", &usage(2600, 600), true);
        assert_eq!(input(&mut silent), Some(600), "an older program does not tell the totals when it resumes");
    }

    #[test]
    fn sub_agents_count() {
        let mut usages = Usages::default();
        usages.told("t", &usage(1000, 1000), true);
        usages.told("child", &usage(70, 70), true);
        assert_eq!(input(&mut usages), Some(1070));
    }
}
