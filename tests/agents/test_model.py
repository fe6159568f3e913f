"""The model answers the same in each of its four APIs, remembers nothing, and ends with its stdin."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from typing import Any, Iterator, Optional

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from model import Server  # noqa: E402
from scenario import GREETING, Settings  # noqa: E402

Json = dict[str, Any]

PATHS = {
    "responses": "/v1/responses",
    "chat": "/v1/chat/completions",
    "messages": "/v1/messages?beta=true",
    "gemini": "/v1beta/models/some-model:streamGenerateContent?alt=sse",
}


def request(api: str, prompt: str, results: int = 0, tools: bool = True, tool: Optional[str] = None) -> Json:
    """A request with earlier turns in it, as an agent would make it, after so many tool results."""
    schema = {"type": "object", "properties": {"command": {"type": "string"}, "description": {}, "sandbox_permissions": {}}}
    if api == "responses":
        messages_before = [{"role": "user", "content": [{"type": "input_text", "text": text}]} for text in ("fake:two", "<environment_context>", prompt)]
        messages_before[1:1] = [{"type": "function_call_output", "call_id": "1", "output": "x"}] * 2
        tool_list = [{"type": "function", "name": tool or "shell_command", "parameters": schema}]
        body: Json = {"input": messages_before + [{"type": "function_call_output", "call_id": "2", "output": "x"}] * results, "tools": tool_list}
    elif api == "chat":
        messages_before = [{"role": "user", "content": "fake:two"}, {"role": "tool", "content": "x"}, {"role": "user", "content": prompt}]
        tool_list = [{"type": "function", "function": {"name": tool or "bash", "parameters": schema}}]
        body = {"messages": messages_before + [{"role": "tool", "content": "x"}] * results, "tools": tool_list}
    elif api == "messages":
        messages_before = [{"role": "user", "content": [{"type": "text", "text": prompt}, {"type": "text", "text": "<system-reminder>fake:error"}]}]
        result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "x"}]}
        body = {"messages": messages_before + [result] * results, "tools": [{"name": tool or "Bash", "input_schema": schema}]}
    else:
        messages_before = [{"role": "user", "parts": [{"text": prompt}]}]
        result = {"role": "user", "parts": [{"functionResponse": {"name": "x", "response": {}}}]}
        tool_list = [{"functionDeclarations": [{"name": tool or "run_shell_command", "parametersJsonSchema": schema}]}]
        body = {"contents": messages_before + [result] * results, "tools": tool_list}
    if not tools:
        del body["tools"]
    return {**body, "model": "some-model", "stream": True}


def pieces(api: str, events: list[Json]) -> Iterator[tuple[str, str]]:
    """(text | thought | call | stop, what) of each event of a stream."""
    for event in events:
        if api == "responses":
            kind = event["type"]
            if kind == "response.output_text.delta":
                yield "text", event["delta"]
            elif kind == "response.reasoning_summary_text.delta":
                yield "thought", event["delta"]
            elif kind == "response.output_item.done" and "arguments" in event["item"]:
                yield "call", event["item"]["arguments"]
            elif kind in ("response.completed", "response.failed"):
                yield "stop", kind
        elif api == "chat" and "choices" in event:
            delta = event["choices"][0]["delta"]
            if delta.get("content"):
                yield "text", delta["content"]
            if "reasoning_content" in delta:
                yield "thought", delta["reasoning_content"]
            for call in delta.get("tool_calls", []):
                yield "call", call["function"]["arguments"]
            if event["choices"][0]["finish_reason"]:
                yield "stop", event["choices"][0]["finish_reason"]
        elif api == "messages":
            delta = event.get("delta", {})
            if delta.get("type") in ("text_delta", "thinking_delta", "input_json_delta"):
                kind, key = {"t": ("text", "text"), "h": ("thought", "thinking"), "n": ("call", "partial_json")}[delta["type"][0 if delta["type"][1] == "e" else 1]]
                yield kind, delta[key]
            if event["type"] in ("message_stop", "error"):
                yield "stop", event["type"]
        elif api == "gemini" and "candidates" in event:
            candidate = event["candidates"][0]
            for part in candidate["content"]["parts"]:
                if "functionCall" in part:
                    yield "call", json.dumps(part["functionCall"]["args"])
                elif part["text"]:
                    yield "thought" if part.get("thought") else "text", part["text"]
            if "finishReason" in candidate:
                yield "stop", candidate["finishReason"]


class Model(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.log, self.gate = Path(directory.name, "log"), Path(directory.name, "gate")
        self.server = Server(Settings(pause=0, slow_pause=0, long_pieces=3000), str(self.log), str(self.gate))
        self.addCleanup(self.server.server_close)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.addCleanup(self.server.shutdown)

    def post(self, path: str, body: Json) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        self.addCleanup(connection.close)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return connection.getresponse()

    def complete(self, api: str, prompt: str, **more: Any) -> dict[str, list[str]]:
        response = self.post(PATHS[api], request(api, prompt, **more))
        self.assertEqual(response.status, 200)
        lines = response.read().decode().splitlines()
        events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        received: dict[str, list[str]] = {"text": [], "thought": [], "call": [], "stop": []}
        for kind, what in pieces(api, events):
            received[kind].append(what)
        return received

    def test_it_greets_in_pieces(self) -> None:
        for api in PATHS:
            with self.subTest(api):
                received = self.complete(api, "say fake:hello please")
                self.assertEqual((received["text"], len(received["stop"])), (GREETING, 1))
                self.assertEqual(received["thought"], [])

    def test_it_thinks_before_it_answers(self) -> None:
        for api in PATHS:
            with self.subTest(api):
                received = self.complete(api, "fake:thinking")
                self.assertEqual(("".join(received["thought"]), received["text"]), ("First I think.", GREETING))

    def test_a_step_is_a_tool_result_since_the_last_prompt(self) -> None:
        for api in PATHS:
            with self.subTest(api):
                for results, command in enumerate(("echo the first", "echo the second")):
                    received = self.complete(api, "fake:two", results=results)
                    self.assertEqual(json.loads("".join(received["call"]))["command"], command)
                for results in (2, 3):
                    self.assertEqual("".join(self.complete(api, "fake:two", results=results)["text"]), "The command has run.")

    def test_it_asks_for_more_than_the_sandbox_allows(self) -> None:
        tool_call = json.loads("".join(self.complete("responses", "fake:approval")["call"]))
        self.assertEqual(tool_call["sandbox_permissions"], "require_escalated")

    def test_an_agent_without_a_fitting_tool_gets_a_text_that_says_so(self) -> None:
        self.assertIn("none of your tools fits: weather", "".join(self.complete("messages", "fake:tool", tool="weather")["text"]))

    def test_requests_of_the_agent_itself_run_no_scenario(self) -> None:
        for api in PATHS:
            with self.subTest(api):
                self.assertEqual(self.complete(api, "a title for: fake:tool", tools=False)["text"], ["A title"])

    def test_it_fails_as_the_prompt_names_it(self) -> None:
        for api in PATHS:
            with self.subTest(api):
                for status in (400, 401, 429, 500, 529):
                    response = self.post(PATHS[api], request(api, f"fake:error-{status}"))
                    self.assertEqual(response.status, status)
                    self.assertIn("refuses", json.loads(response.read())["error"]["message"])
                for kind in ("stream", "drop"):
                    received = self.complete(api, f"fake:error-{kind}")
                    self.assertEqual("".join(received["text"]), "Half of")
                    self.assertNotIn(received["stop"], (["response.completed"], ["stop"], ["message_stop"], ["STOP"]))

    def test_the_second_half_waits_at_the_gate(self) -> None:
        response = self.post(PATHS["chat"], request("chat", "fake:gate"))
        first = b"".join(response.readline() for _ in range(2 * (1 + len(GREETING) // 2)))
        self.assertIn(GREETING[4], first.decode())
        self.assertFalse(self.gate.exists())
        self.gate.touch()
        self.assertIn("DONE", response.read().decode())

    def test_it_sends_much_at_once(self) -> None:
        self.assertEqual(len(self.complete("responses", "fake:long")["text"]), 3000)

    def test_it_keeps_a_log(self) -> None:
        self.complete("gemini", "fake:two", results=1)
        entry = json.loads(self.log.read_text())
        self.assertEqual([entry[key] for key in ("scenario", "api", "step", "answer")], ["two", "gemini", 1, "call"])
        self.assertEqual(entry["body"]["contents"][0]["parts"][0]["text"], "fake:two")


class Program(unittest.TestCase):
    def test_it_prints_its_port_and_ends_with_its_stdin(self) -> None:
        argv = [sys.executable, str(HERE / "model.py")]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "LANG": "C"}) as process:
            connection = http.client.HTTPConnection("127.0.0.1", int(process.stdout.readline()), timeout=20)
            connection.request("HEAD", "/")
            self.assertEqual(connection.getresponse().status, 200)
            connection.close()
            process.stdin.close()
            self.assertEqual(process.wait(timeout=20), 0)


if __name__ == "__main__":
    unittest.main()
