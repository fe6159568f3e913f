#!/usr/bin/env python3
"""Plays a recording of tests/recordings as if it were the agent that was recorded.

    replay.py [OPTION...] RECORDING [-- ARG...]

What the agent wrote is written, in the recorded order and without the recorded pauses. Where the recorder wrote a line, we wait until our client wrote
the corresponding one: the same method, the same control request, or the answer to the same request; what else stands in it is not compared.
The ids of our client's requests are put into their answers. ARG... is the agent's command line: a session's id that it gives to Claude Code replaces
the recorded one, and `--version` is answered.

A request that the recording does not know gets an empty success at once. Exit 97, with a message on stderr, says that client and recording
do not fit: a line is waited for that can no longer come. Else the exit is the recorded one, by signal if that is how it ended.
A recorded signal is not waited for; what followed it follows at once.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn, Optional

Json = dict[str, Any]
Key = tuple[str, str]

MISFIT = 97

VERSIONS = {
    "claude": "2.1.330 (Claude Code)",
    "codex": "codex-cli 0.169.0",
    "codex-acp": "@agentclientprotocol/codex-acp 2.6.0",
    "gemini": "0.61.0",
    "opencode": "1.18.33",
}

TURNS = ("session/prompt", "turn/start", "user")
"""Lines that begin a turn. To answer such a line that the recording does not know would invent a turn, so it is a misfit."""


def key_of(line: str) -> tuple[Key, Json]:
    """What must be the same in a line of our client for it to correspond to a recorded one."""
    try:
        message = json.loads(line)
    except ValueError:
        return ("text", ""), {}
    if not isinstance(message, dict):
        return ("text", ""), {}
    if "method" in message:
        return ("method", message["method"]), message
    if message.get("type") == "control_request":
        return ("control", message["request"]["subtype"]), message
    if message.get("type") == "control_response":
        return ("answer", str(message["response"].get("request_id"))), message
    if "type" in message:
        return ("line", message["type"]), message
    return ("answer", json.dumps(message.get("id"))), message


def id_of(message: Json) -> Any:
    return message.get("request_id") if message.get("type") == "control_request" else message.get("id")


class Replay:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        entries = [json.loads(line) for line in Path(options.recording).read_text(encoding="utf-8").splitlines()]
        self.entries = [{**entry, **meta_of(entry)} for entry in entries]
        self.expected = [key_of(entry["line"])[0] for entry in self.entries if entry["dir"] == "in" and not self.skipped(entry)]
        self.early: list[tuple[Key, Json]] = []
        self.ids: dict[str, Any] = {}
        self.incoming: queue.SimpleQueue[Optional[str]] = queue.SimpleQueue()
        self.at_end = False
        self.signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.substitutions = placeholders(self.entries, options.arguments)
        self.started_at = time.monotonic()

    def skipped(self, entry: Json) -> bool:
        return key_of(entry["line"])[0][1] in self.options.skip

    def play(self) -> NoReturn:
        if self.expected:
            threading.Thread(target=self.listen, daemon=True).start()
        code = 0
        for entry in self.entries:
            if self.at_end and self.options.end_anywhere and entry["dir"] == "in":
                continue
            if self.options.pace:
                self.pause_until(self.started_at + entry["t_ms"] / 1000)
            if entry["dir"] == "in":
                self.wait_for(entry)
            elif entry["dir"] == "err":
                write(2, self.substitute(entry, escaped=False))
            elif entry["dir"] == "out":
                write(1, self.translated(entry))
            elif entry.get("stdin") == "closed":
                while not self.at_end:
                    self.take()
            elif "signal" in entry and self.options.wait_signal:
                self.wait_for_signal(entry["signal"])
            elif "exit" in entry:
                code = entry["exit"]
        end(code)

    # -- what our client writes ------------------------------------------------

    def listen(self) -> None:
        for line in sys.stdin:
            self.incoming.put(line.rstrip("\n"))
        self.incoming.put(None)

    def wait_for(self, entry: Json) -> None:
        """Waits until our client has written the line that corresponds to this one."""
        if self.skipped(entry):
            return
        expected, recorded = key_of(entry["line"])
        while True:
            for index, (key, message) in enumerate(self.early):
                if key == expected:
                    del self.early[index]
                    self.expected.remove(key)
                    self.ids[json.dumps(id_of(recorded))] = id_of(message)
                    return
            if self.at_end and self.options.end_anywhere:
                return
            if self.at_end:
                misfit(f"stdin ended; the recording waits for {describe(expected)}")
            # A client that sent a line ahead of this one may be waiting for its response, and then both wait for each other.
            if not self.take(self.options.timeout if self.early else None):
                ahead = ", ".join(describe(key) for key, _ in self.early)
                misfit(f"the recording waits for {describe(expected)}, and all that came is {ahead}")

    def take(self, timeout: Optional[float] = None) -> bool:
        """Takes one line of our client, or the end of stdin. Returns false if none came in time."""
        try:
            line = self.incoming.get(timeout=timeout)
        except queue.Empty:
            return False
        if line is None:
            self.at_end = True
            return True
        key, message = key_of(line)
        coming = "text" in {kind for kind, _ in self.expected}
        if self.still_expected(key):
            self.early.append((key, message))
        elif coming and self.still_expected(("text", "")):
            # The recorder wrote plain text, as a prompt; it may look like anything.
            self.early.append((("text", ""), {}))
        elif key[0] == "text" and line:
            misfit(f"this is no message: {line[:200]}")
        elif key[1] in TURNS:
            misfit(f"the recording has no further turn for {describe(key)}")
        elif key[0] == "control":
            response = {"subtype": "success", "request_id": message.get("request_id"), "response": {}}
            write(1, json.dumps({"type": "control_response", "response": response}) + "\n")
        elif key[0] == "method" and "id" in message:
            version = {"jsonrpc": message["jsonrpc"]} if "jsonrpc" in message else {}
            write(1, json.dumps({**version, "id": message["id"], "result": {}}) + "\n")
        return True

    def still_expected(self, key: Key) -> bool:
        return self.expected.count(key) > sum(early_key == key for early_key, _ in self.early)

    def pause_until(self, moment: float) -> None:
        """Waits until a moment. Requests that come meanwhile are answered."""
        while (left := moment - time.monotonic()) > 0:
            if self.at_end or not self.expected:
                time.sleep(left)
            else:
                self.take(left)

    def wait_for_signal(self, name: str) -> None:
        expected = signal.Signals[name]
        if expected == signal.SIGKILL:
            signal.pause()
        while self.signals.get() != expected:
            pass

    # -- what the agent wrote --------------------------------------------------

    def translated(self, entry: Json) -> str:
        """The recorded line, with our client's id if it is a response; empty if it is the response to a request that was left out."""
        line = self.substitute(entry, escaped=True)
        key, message = key_of(line)
        if key[0] != "answer" or not message:
            return line
        where, name = (message["response"], "request_id") if "type" in message else (message, "id")
        recorded = json.dumps(where.get(name))
        if recorded not in self.ids:
            return "" if self.options.skip or self.options.end_anywhere else line
        if json.dumps(self.ids[recorded]) == recorded:
            return line
        where[name] = self.ids[recorded]
        return json.dumps(message, ensure_ascii=False, separators=(",", ":")) + line[len(line.rstrip("\n")) :]

    def substitute(self, entry: Json, escaped: bool) -> str:
        line = entry["line"]
        for old, new in self.substitutions.items():
            if old in line:
                line = line.replace(old, json.dumps(new)[1:-1] if escaped else new)
        return line if entry.get("partial") else line + "\n"


def meta_of(entry: Json) -> Json:
    return json.loads(entry["line"]) if entry["dir"] == "meta" else {}


def placeholders(entries: list[Json], arguments: list[str]) -> dict[str, str]:
    substitutions = {"$CWD": os.getcwd(), "$HOME": os.environ.get("HOME", "/")}
    options = dict(zip(arguments, arguments[1:]))
    session = options.get("--session-id") or (options.get("--resume") if "--fork-session" not in arguments else None)
    if session:
        ids = (re.search(r'"session_id":"([^"]+)"', entry["line"]) for entry in entries if entry["dir"] == "out")
        substitutions.update({found[1]: session for found in ids if found})
    return substitutions


def describe(key: Key) -> str:
    return {"text": "a line of text", "answer": f"the answer to request {key[1]}", "line": f"a line of type {key[1]}"}.get(key[0], key[1])


def write(descriptor: int, text: str) -> None:
    left = memoryview(text.encode("utf-8", "surrogatepass"))
    while left:
        left = left[os.write(descriptor, left) :]


def misfit(message: str) -> NoReturn:
    write(2, f"replay: {message}\n")
    os._exit(MISFIT)


def end(code: int) -> NoReturn:
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if code != -signal.SIGKILL else None
        os.kill(os.getpid(), -code)
        time.sleep(60)
    os._exit(code)


def main() -> None:
    parser = argparse.ArgumentParser(description="Plays a recording of an agent.")
    parser.add_argument("--pace", action="store_true", help="with the recorded pauses")
    parser.add_argument("--timeout", type=float, default=10, help="seconds to wait for a line while another one came ahead of it")
    parser.add_argument("--skip", action="append", default=[], metavar="NAME", help="a method or control request that our client does not send")
    parser.add_argument("--end-anywhere", action="store_true", help="stdin may end where the recorder went on: to the recorded end, then")
    parser.add_argument("--wait-signal", action="store_true", help="wait for a recorded signal")
    parser.add_argument("recording")
    # All arguments after the dashes are the agent's.
    mine, arguments = sys.argv[1:], []
    if "--" in mine:
        mine, arguments = mine[: mine.index("--")], mine[mine.index("--") + 1 :]
    options = parser.parse_args(mine)
    options.arguments = arguments
    if options.arguments == ["--version"]:
        provider = Path(options.recording).resolve().parent.name.replace("gemini-acp", "gemini").replace("opencode-acp", "opencode")
        print(VERSIONS.get(provider, "1.0.0"))
        return
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    replay = Replay(options)
    if options.wait_signal:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: replay.signals.put(number))
    replay.play()


if __name__ == "__main__":
    main()
