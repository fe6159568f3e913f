"""What each agent gets in a world: its configuration files, and its variables in the cleared environment.

All of them know one model, the server on loopback, with a key that opens nothing. Updates, telemetry and first-run questions are off.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

KEY = "a-key-that-opens-nothing"

# A model of Codex's catalog that gets the tools one by one. Codex would print a warning in each run about an unknown model.
CODEX_MODEL = "gpt-5.5"
GEMINI_MODEL = "gemini-2.5-flash"


def write_all(home: Path, work: Path, url: str) -> None:
    """Writes the configuration files of every agent below `home`."""
    for path, text in (
        (".codex/config.toml", codex(work, url)),
        (".claude.json", json.dumps(claude(work))),
        (".gemini/settings.json", json.dumps(gemini())),
    ):
        file = home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def environment(url: str) -> dict[str, str]:
    """The variables of every process of the world, beside PATH, HOME and the like."""
    return {
        # Codex and codex-acp; the rest of it is in config.toml.
        "TESTS_API_KEY": KEY,
        # Claude Code
        "ANTHROPIC_API_KEY": KEY,
        "ANTHROPIC_BASE_URL": url,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "0",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_TELEMETRY": "1",
        # gemini; without the relaunch it starts in half the time
        "GEMINI_API_KEY": KEY,
        "GEMINI_CLI_NO_RELAUNCH": "true",
        "GEMINI_MODEL": GEMINI_MODEL,
        "GOOGLE_GEMINI_BASE_URL": url,
        # opencode
        "OPENCODE_CONFIG_CONTENT": json.dumps(opencode(url)),
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
    }


def codex(work: Path, url: str) -> str:
    # Without retries a failure is seen at once; with the default ones after 25 s.
    return f"""\
model = "{CODEX_MODEL}"
model_provider = "tests"
check_for_update_on_startup = false

[model_providers.tests]
name = "tests"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "TESTS_API_KEY"
request_max_retries = 0
stream_max_retries = 0

[analytics]
enabled = false

[otel]
exporter = "none"
metrics_exporter = "none"
trace_exporter = "none"

[features]
apps = false
plugins = false
remote_plugin = false

[projects.{json.dumps(str(work))}]
trust_level = "trusted"

# Without these, it would first advertise a newer model in a terminal, and look for a screen reader.
[notice.model_migrations]
"{CODEX_MODEL}" = "gpt-6-sol"

[tui]
screen_reader_detection_done = true
"""


def claude(work: Path) -> dict[str, Any]:
    """The answers to the questions that it asks when it is started in a terminal for the first time."""
    return {
        "hasCompletedOnboarding": True,
        "theme": "dark",
        "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
        "projects": {str(work): {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}},
    }


def gemini() -> dict[str, Any]:
    return {
        # Without retries a failure is seen at once; with the default ones after minutes.
        "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False, "maxAttempts": 1},
        "privacy": {"usageStatisticsEnabled": False},
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
        "telemetry": {"enabled": False},
    }


def opencode(url: str) -> dict[str, Any]:
    model = {"name": "Tests", "tool_call": True, "limit": {"context": 100000, "output": 10000}}
    provider = {
        "name": "Tests",
        "npm": "@ai-sdk/openai-compatible",
        "options": {"apiKey": KEY, "baseURL": f"{url}/v1"},
        "models": {"tests": model},
    }
    return {
        "autoupdate": False,
        "share": "disabled",
        "enabled_providers": ["tests"],
        "provider": {"tests": provider},
        "model": "tests/tests",
        "small_model": "tests/tests",
        "permission": {"bash": "ask", "edit": "ask"},
    }
