"""The answers of the tests' model: a scenario is a list of steps, and a step is one answer of the model.

A prompt picks the scenario with `fake:NAME`. Nothing is remembered between requests: the step is the number of tool results that follow the
last user message, and the last step answers whatever comes after it. So several agents, turns and sessions can share one server.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Optional, Union

Json = dict[str, Any]

FAILURES = ("400", "401", "429", "500", "529", "stream", "drop")


@dataclass(frozen=True)
class Say:
    """Text, one event of the stream per piece. With `gated`, the second half is sent only when the gate is open."""

    pieces: list[str]
    thoughts: list[str] = field(default_factory=list)
    pause: float = 0.0
    gated: bool = False


@dataclass(frozen=True)
class Command:
    """Run a shell command with the agent's tool; `escalate` requests to leave the sandbox, if the tool has such a parameter."""

    line: str
    preface: str = ""
    escalate: bool = False


@dataclass(frozen=True)
class Write:
    """Create a file with the agent's tool."""

    path: str
    lines: list[str]


@dataclass(frozen=True)
class Ask:
    """Call a tool of the MCP server `loomd`."""

    tool: str
    arguments: Json


@dataclass(frozen=True)
class Failure:
    """An HTTP status in digits; or `stream`, an error event after half an answer; or `drop`, the connection cut after half an answer."""

    kind: str


Step = Union[Say, Command, Write, Ask, Failure]


@dataclass(frozen=True)
class Settings:
    """The settings of the server's command line."""

    pause: float = 0.02
    long_pieces: int = 2000
    slow_pieces: int = 30
    slow_pause: float = 1.0
    fallback: str = "hello"


GREETING = ["Hello", " from", " the", " model", " of", " the", " tests", ":", " naïve", " ✓", "."]


def steps(name: str, settings: Settings) -> list[Step]:
    """The steps of a scenario. The answer to an unknown name is a text that says so, because a prompt may contain any text."""
    pause = settings.pause
    ran = Say(["The", " command", " has", " run", "."], pause=pause)
    known: dict[str, list[Step]] = {
        "hello": [Say(GREETING, pause=pause)],
        "thinking": [Say(GREETING, ["First", " I", " think", "."], pause)],
        "tool": [Command("for n in 1 2 3; do echo tick $n; sleep 0.2; done", preface="Let me run something."), ran],
        "toolfail": [Command("echo on stdout; echo on stderr >&2; exit 3"), ran],
        "two": [Command("echo the first"), Command("echo the second"), ran],
        "sleep": [Command("echo asleep; sleep 120; echo awake"), ran],
        "edit": [Write("fake.txt", ["one", "two"]), Say(["The", " file", " is", " written", "."], pause=pause)],
        "approval": [Command("touch approved.txt", escalate=True), ran],
        "past": [Ask("search_runs", {"query": "needle"}), Ask("search_runs", {"query": "needle"}), Say(["Somebody", " has", " looked", " for", " it", "."], pause=pause)],
        "big": [Command("yes 'a line of a big output, of forty letters' | head -c 20000000"), ran],
        "long": [Say([f"word{n} " for n in range(settings.long_pieces)])],
        "slow": [Say([f"slow{n} " for n in range(settings.slow_pieces)], pause=settings.slow_pause)],
        "gate": [Say(GREETING, gated=True)],
        "error": [Failure("500")],
    }
    for kind in FAILURES:
        known[f"error-{kind}"] = [Failure(kind)]
    return known.get(name) or [Say([f"(no scenario is called {name})"])]


# -- the request, whatever the API --------------------------------------------


@dataclass
class ModelRequest:
    """The parts of a request that decide its answer."""

    model: str
    stream: bool
    tools: dict[str, Json] = field(default_factory=dict)
    """The agent's tools by name, each with the JSON Schema of its input, which is empty if the input is free text."""
    namespaces: dict[str, str] = field(default_factory=dict)
    """The namespaces of those tools that are in one."""
    prompt: str = ""
    results: int = 0
    """Tool results since the prompt."""

    def add_user_text(self, text: str) -> None:
        if not is_agent_context(text):
            self.prompt, self.results = text, 0

    def add_result(self) -> None:
        self.results += 1

    def scenario(self, settings: Settings) -> str:
        named = re.findall(r"fake:([a-z0-9-]+)", self.prompt)
        return named[-1] if named else settings.fallback


def is_agent_context(text: str) -> bool:
    """Whether a user's message is context that the agent adds, in tags or as what Claude says of a tool. It starts no new turn."""
    return re.match(r"\s*(<(system-reminder|environment_context|turn_aborted)\b|Tool loaded\.$)", text) is not None


def text_in(content: Any) -> str:
    """The text of a message's content, which is a string or a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or [] if isinstance(part, dict))


# -- from a step to a call of one of the agent's tools -----------------------


@dataclass(frozen=True)
class Call:
    """A call of the agent's tool `name`; free text where `input` is a string."""

    name: str
    input: Union[Json, str]
    preface: str = ""
    namespace: str = ""


Answer = Union[Say, Call, Failure]

TITLE = Say(["A title"])


def answer(request: ModelRequest, settings: Settings) -> Answer:
    """The answer to a request. A request without tools is the agent's own, for a title or a summary."""
    if not request.tools:
        return TITLE
    script = steps(request.scenario(settings), settings)
    step = script[min(request.results, len(script) - 1)]
    if isinstance(step, (Say, Failure)):
        return step
    if isinstance(step, Ask):
        call = mcp_call(step, request)
    else:
        call = command_call(step, request.tools) if isinstance(step, Command) else write_call(step, request.tools)
    return call or Say([f"(none of your tools fits: {', '.join(sorted(request.tools))})"])


REASON = "Shall this leave the sandbox?"


def command_call(step: Command, tools: dict[str, Json]) -> Optional[Call]:
    if "exec" in tools:
        tool_call: Json = {"cmd": step.line}
        if step.escalate:
            tool_call.update(sandbox_permissions="require_escalated", justification=REASON)
        return in_javascript("exec_command", tool_call, "result.output")
    for name, key in (
        ("shell_command", "command"),
        ("exec_command", "cmd"),
        ("Bash", "command"),
        ("bash", "command"),
        ("run_shell_command", "command"),
    ):
        if name in tools:
            break
    else:
        return None
    takes = tools[name].get("properties") or {}
    tool_input: Json = {key: step.line}
    if "description" in takes:
        tool_input["description"] = "A command of the tests"
    if step.escalate and "sandbox_permissions" in takes:
        tool_input.update(sandbox_permissions="require_escalated", justification=REASON)
    return Call(name, tool_input, step.preface)


def write_call(step: Write, tools: dict[str, Json]) -> Optional[Call]:
    added = "".join(f"+{line}\n" for line in step.lines)
    patch = f"*** Begin Patch\n*** Add File: {step.path}\n{added}*** End Patch\n"
    if "exec" in tools:
        return in_javascript("apply_patch", patch, "result")
    if "apply_patch" in tools:
        return Call("apply_patch", patch)
    for name in ("Write", "write", "write_file"):
        if name in tools:
            takes = tools[name].get("properties") or {}
            key = next((key for key in ("filePath", "path") if key in takes), "file_path")
            return Call(name, {key: step.path, "content": "".join(f"{line}\n" for line in step.lines)})
    return None


def mcp_call(step: Ask, request: ModelRequest) -> Optional[Call]:
    """The call of a tool that most agents tell the model only when it has searched for it."""
    name = f"mcp__loomd__{step.tool}"
    if name in request.tools:
        return Call(name, step.arguments)
    if step.tool in request.namespaces:
        return Call(step.tool, step.arguments, namespace=request.namespaces[step.tool])
    if "exec" in request.tools:
        return in_javascript(name, step.arguments, "JSON.stringify(result)")
    if "tool_search" in request.tools:
        return Call("tool_search", {"query": f"loomd {step.tool}", "limit": 20})
    if "ToolSearch" in request.tools:
        return Call(name, step.arguments) if request.results else Call("ToolSearch", {"query": f"select:{name}", "max_results": 1})
    return None


def in_javascript(tool: str, tool_input: Union[Json, str], shown: str) -> Call:
    """Codex gives its newest models one tool, which takes JavaScript that calls the others."""
    return Call("exec", f"const result = await tools.{tool}({json.dumps(tool_input)});\ntext({shown});\n")
