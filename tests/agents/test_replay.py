"""Every recording is played to a client that says what the recorder wrote, with other ids; and what does not fit is reported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, Optional
from unittest import mock

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import replay  # noqa: E402

RECORDINGS = HERE.parent / "recordings"


def entries_of(recording: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RECORDINGS / recording).read_text(encoding="utf-8").splitlines()]


def with_other_id(line: str) -> str:
    """The line as another client would write it, which counts its requests from 1000; answers keep the id that they answer."""
    key, message = replay.key_of(line)
    if key[0] == "control":
        message["request_id"] = "ours-" + message["request_id"]
    elif key[0] == "method" and "id" in message:
        message["id"] += 1000
    return json.dumps(message) if message else line


def with_recorded_id(line: str) -> str:
    key, message = replay.key_of(line)
    if key[0] != "answer" or not message:
        return line
    if "type" in message:
        message["response"]["request_id"] = message["response"]["request_id"].replace("ours-", "")
    elif isinstance(message["id"], int) and message["id"] >= 1000:
        message["id"] -= 1000
    return json.dumps(message)


def same(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return line


def client(lines: list[str], recording: str, *options: str, arguments: Optional[list[str]] = None, wait: bool = True) -> Any:
    argv = [sys.executable, str(HERE / "replay.py"), *options, str(RECORDINGS / recording), "--", *(arguments or [])]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if not wait:
        return process
    out, err = process.communicate("".join(line + "\n" for line in lines), timeout=20)
    return process.returncode, out.splitlines(), err


class Ended(Exception):
    pass


class EveryRecording(unittest.TestCase):
    def test_is_played_to_the_end_with_the_ids_of_our_client(self) -> None:
        recordings = sorted(RECORDINGS.glob("*/*.jsonl"))
        self.assertGreater(len(recordings), 150)
        for recording in recordings:
            name = str(recording.relative_to(RECORDINGS))
            with self.subTest(name):
                entries = entries_of(name)
                written, code = self.play(recording, [with_other_id(entry["line"]) for entry in entries if entry["dir"] == "in"])
                substitutions = replay.placeholders(entries, [])
                expected = [entry["line"] for entry in entries if entry["dir"] == "out"]
                for old, new in substitutions.items():
                    expected = [line.replace(old, new) for line in expected]
                self.assertEqual([same(with_recorded_id(line)) for line in written.splitlines()], [same(line) for line in expected])
                exits = [json.loads(entry["line"]) for entry in entries if entry["dir"] == "meta"]
                self.assertEqual(code, [meta["exit"] for meta in exits if "exit" in meta][-1])

    def play(self, recording: Path, lines: list[str]) -> tuple[str, int]:
        options = mock.Mock(recording=recording, arguments=[], skip=[], pace=False, timeout=5, end_anywhere=False, wait_signal=False)
        written: list[str] = []
        ended = mock.Mock(side_effect=Ended)
        with (
            mock.patch.object(replay.Replay, "listen", lambda self: None),
            mock.patch.object(replay, "write", lambda descriptor, text: written.append(text) if descriptor == 1 else None),
            mock.patch.object(replay, "end", ended),
            mock.patch.object(replay, "misfit", lambda what: self.fail(what)),
        ):
            played = replay.Replay(options)
            for line in [*lines, None]:
                played.incoming.put(line)
            with self.assertRaises(Ended):
                played.play()
        return "".join(written), ended.call_args[0][0]


class Program(unittest.TestCase):
    def ours(self, recording: str) -> list[str]:
        return [with_other_id(entry["line"]) for entry in entries_of(recording) if entry["dir"] == "in"]

    def test_a_one_shot_run_needs_no_stdin(self) -> None:
        code, out, err = client([], "codex/exec-error-500.jsonl")
        self.assertEqual((code, json.loads(out[0])["type"]), (1, "thread.started"))

    def test_it_waits_for_our_line(self) -> None:
        process = client([], "codex/app-server-approve.jsonl", wait=False)
        lines = self.ours("codex/app-server-approve.jsonl")
        for line in lines[:4]:
            process.stdin.write(line + "\n")
        process.stdin.flush()
        for line in process.stdout:
            if "requestApproval" in line:
                break
        # Whatever would follow without the answer stands before the answer to a question that is put now.
        process.stdin.write('{"id": "now", "method": "a/question"}\n')
        process.stdin.flush()
        self.assertEqual(json.loads(process.stdout.readline()), {"id": "now", "result": {}})
        rest, _ = process.communicate(lines[4] + "\n", timeout=20)
        self.assertIn("serverRequest/resolved", rest)
        self.assertEqual(process.returncode, 0)

    def test_a_request_that_the_recording_does_not_know_gets_a_success(self) -> None:
        lines = self.ours("codex/app-server-hello.jsonl")
        lines[2:2] = ['{"id": "extra", "method": "model/list", "params": {}}', '{"method": "a/notification"}']
        code, out, _ = client(lines, "codex/app-server-hello.jsonl")
        self.assertEqual(code, 0)
        self.assertIn({"id": "extra", "result": {}}, [json.loads(line) for line in out])
        lines = self.ours("claude/bidi-allow.jsonl")
        lines.insert(1, '{"type": "control_request", "request_id": "extra", "request": {"subtype": "set_permission_mode", "mode": "plan"}}')
        code, out, _ = client(lines, "claude/bidi-allow.jsonl")
        answers = [line["response"] for line in map(json.loads, out) if line["type"] == "control_response"]
        self.assertIn({"subtype": "success", "request_id": "extra", "response": {}}, answers)
        self.assertEqual(code, 0)

    def test_a_client_that_stops_too_early_gets_a_message_about_what_is_missing(self) -> None:
        code, _, err = client(self.ours("codex/app-server-approve.jsonl")[:3], "codex/app-server-approve.jsonl")
        self.assertEqual((code, err.splitlines()[-1]), (97, "replay: stdin ended; the recording waits for turn/start"))
        code, _, _ = client(self.ours("codex/app-server-approve.jsonl")[:3], "codex/app-server-approve.jsonl", "--end-anywhere")
        self.assertEqual(code, 0)

    def test_client_and_recording_that_wait_for_each_other_time_out(self) -> None:
        lines = self.ours("claude-agent-acp/hello.jsonl")
        process = client([], "claude-agent-acp/hello.jsonl", "--timeout", "0.1", wait=False)
        process.stdin.write("\n".join([*lines[:2], lines[3]]) + "\n")
        process.stdin.flush()
        # Not `communicate`: it would close stdin, after which no line can come.
        self.assertEqual(process.wait(timeout=20), 97)
        _, err = process.communicate()
        self.assertIn("waits for session/set_mode, and all that came is session/prompt", err)

    def test_a_left_out_request_is_skipped_with_its_answer(self) -> None:
        lines = self.ours("claude-agent-acp/hello.jsonl")
        del lines[2]
        code, out, err = client(lines, "claude-agent-acp/hello.jsonl", "--skip", "session/set_mode")
        self.assertEqual(code, 0, err)
        self.assertEqual([m["id"] for m in map(json.loads, out) if "result" in m], [1000, 1001, 1003, 1004])

    def test_a_further_turn_and_a_line_that_is_no_message_are_misfits(self) -> None:
        lines = self.ours("claude/bidi-allow.jsonl")
        code, _, err = client([*lines, lines[1]], "claude/bidi-allow.jsonl")
        self.assertEqual((code, err.splitlines()[-1]), (97, "replay: the recording has no further turn for a line of type user"))
        code, _, err = client([lines[0], "hello?"], "claude/bidi-allow.jsonl")
        self.assertEqual((code, err.splitlines()[-1]), (97, "replay: this is no message: hello?"))

    def test_it_ends_by_the_recorded_signal(self) -> None:
        code, _, _ = client([], "claude/sigkill-tool.jsonl")
        self.assertEqual(code, -signal.SIGKILL)
        code, _, _ = client(self.ours("codex/app-server-sigint.jsonl"), "codex/app-server-sigint.jsonl")
        self.assertEqual(code, -signal.SIGINT)

    def test_it_waits_for_a_signal_with_the_option(self) -> None:
        process = client([], "claude/sigint.jsonl", "--wait-signal", wait=False)
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
        self.assertEqual((json.loads(first)["type"], process.returncode), ("system", 0))
        self.assertIn('"type":"result"', rest)

    def test_the_session_of_the_command_line_replaces_the_recorded_one(self) -> None:
        session = "11111111-2222-3333-4444-555555555555"
        lines = self.ours("claude/bidi.jsonl")
        _, out, _ = client(lines, "claude/bidi.jsonl", arguments=["-p", "--session-id", session])
        sessions = {line["session_id"] for line in map(json.loads, out) if "session_id" in line}
        self.assertEqual(sessions, {session})
        code, out, _ = client([], "codex/exec-hello.jsonl", arguments=["--version"])
        self.assertEqual((code, out), (0, ["codex-cli 0.169.0"]))

    def test_a_line_that_was_cut_stays_cut(self) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as recording:
            for entry in (
                {"t_ms": 0, "dir": "out", "line": '{"cwd":"$CWD"}'},
                {"t_ms": 1, "dir": "out", "line": '{"half', "partial": True},
                {"t_ms": 2, "dir": "meta", "line": '{"exit": 3}'},
            ):
                recording.write(json.dumps(entry) + "\n")
            recording.flush()
            code, out, _ = client([], recording.name)
        self.assertEqual((code, out), (3, [json.dumps({"cwd": os.getcwd()}, separators=(",", ":")), '{"half']))


if __name__ == "__main__":
    unittest.main()
