//! The agents that speak ACP and need no configuration: a line each. `docs/providers.md` says which of them were measured.

use crate::provider::kind::Preset;

/// Providers of this kind that exist without a configuration.
#[rustfmt::skip]
pub(crate) const PRESETS: &[Preset] = &[
    preset("gemini", "Gemini CLI", &["gemini", "--acp"], "install it with `npm install -g @google/gemini-cli`"),
    preset("opencode", "opencode", &["opencode", "acp"], "install it with `npm install -g opencode-ai`"),
    preset("copilot", "GitHub Copilot CLI", &["copilot", "--acp", "--stdio"], "install it with `npm install -g @github/copilot`"),
    preset("cursor", "Cursor CLI", &["cursor-agent", "acp"], "install it from https://cursor.com/cli"),
    preset("cline", "Cline", &["cline", "--acp"], "install it with `npm install -g cline`"),
    preset("qwen", "Qwen Code", &["qwen", "--acp"], "install it with `npm install -g @qwen-code/qwen-code`"),
    preset("kimi", "Kimi Code", &["kimi", "acp"], "install it with `npm install -g @moonshot-ai/kimi-code`"),
    preset("goose", "goose", &["goose", "acp"], "install it from https://github.com/aaif-goose/goose"),
    preset("droid", "Factory Droid", &["droid", "exec", "--output-format", "acp"], "install it with `npm install -g droid`"),
    preset("grok", "Grok CLI", &["grok", "agent", "stdio"], "install it with `npm install -g @xai-official/grok`"),
    preset("auggie", "Auggie", &["auggie", "--acp"], "install it with `npm install -g @augmentcode/auggie`"),
    preset("kilo", "Kilo CLI", &["kilo", "acp"], "install it with `npm install -g @kilocode/cli`"),
    preset("vibe", "Mistral Vibe", &["vibe-acp"], "install it from https://github.com/mistralai/mistral-vibe"),
    preset("kiro", "Kiro CLI", &["kiro-cli", "acp"], "install it from https://kiro.dev/cli"),
    preset("junie", "Junie", &["junie", "--acp=true"], "install it from https://junie.jetbrains.com"),
    preset("openclaw", "OpenClaw", &["openclaw", "acp"], "install it with `npm install -g openclaw`"),
    preset("devin", "Devin", &["devin", "acp"], "install it from https://devin.ai"),
    preset("qoder", "Qoder CLI", &["qodercli", "--acp"], "install it from https://qoder.com/cli"),
    preset("iflow", "iFlow CLI", &["iflow", "--experimental-acp"], "install it from https://github.com/iflow-ai/iflow-cli"),
    preset("trae", "TRAE CLI", &["traecli", "acp", "serve"], "install it from https://www.trae.ai"),
    preset("openhands", "OpenHands", &["openhands", "acp"], "install it from https://github.com/OpenHands/OpenHands"),
    preset("hermes", "Hermes Agent", &["hermes", "acp"], "install it from https://github.com/NousResearch/hermes-agent"),
    preset("jcode", "jcode", &["jcode", "acp"], "install it from https://github.com/1jehuang/jcode"),
    preset("mux", "Mux", &["mux", "acp"], "install it from https://github.com/coder/mux"),
];

const fn preset(name: &'static str, title: &'static str, command: &'static [&'static str], install_hint: &'static str) -> Preset {
    Preset { name, title, kind: "acp", command, install_hint }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::provider;

    #[test]
    fn each_line_is_well_formed() {
        let mut names = BTreeSet::new();
        for Preset { name, title, kind, command, install_hint } in PRESETS {
            assert!(names.insert(name) && provider::kind(name).is_none(), "{name} is there already");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !title.is_empty(), "{name}");
            assert!(provider::kind(kind).is_some(), "{name}");
            let is_word = |word: &&str| !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || "'\"$`;|&/".contains(c));
            assert!(!command.is_empty() && command.iter().all(is_word), "{name}: {command:?}");
            let is_command = install_hint.strip_prefix("install it with `").is_some_and(|rest| rest.ends_with('`'));
            assert!(is_command || install_hint.starts_with("install it from https://"), "{name}: {install_hint}");
        }
    }
}
