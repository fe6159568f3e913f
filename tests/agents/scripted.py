#!/usr/bin/env python3
"""An ACP agent that does what its prompt says, for tests. Each line of a prompt is one step:

    say TEXT            the words of TEXT, one chunk each
    think TEXT          the same as thoughts
    tool KIND BYTES     a tool call with so many bytes of output
    ask KIND            asks for permission for a tool call of this kind, and says which option was chosen
    request JSON        the same for a tool call with these members
    flood COUNT         asks so often for permission, all at once, and says how often it was granted once every answer is there
    during COMMAND      the next `ask` runs this shell command while its question is open, and says what it wrote
    edit PATH TEXT      writes a file, with a diff, after having asked
    options             what its options are set to
    servers             the MCP servers that the session was opened with
    spawn               starts a command in a session of its own, which would run for long
    wait                until the turn is cancelled
    fail TEXT           the turn ends with an error
    line BYTES          one line of so many bytes that means nothing
    stderr BYTES        so much on stderr
    exit CODE           ends at once; `half CODE` in the middle of a line; `kill` by SIGKILL
    refuse              the turn ends as a refusal

Options: --options (has a mode, a level of effort and a switch, and takes images), --models (has two models), --silent (answers nothing), --stay (survives the end of its stdin and SIGTERM), --load (no session/resume, only session/load), --keep DIR (where sessions are kept).
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any, Optional

Json = dict[str, Any]

ARGS = sys.argv[1:]
SESSION_DIR = Path(ARGS[ARGS.index("--keep") + 1]) if "--keep" in ARGS else None
OPTIONS = [("yes", "Allow", "allow_once"), ("always", "Always allow", "allow_always"), ("no", "Reject", "reject_once")]


class Agent:
    def __init__(self) -> None:
        self.inbox: queue.SimpleQueue[Optional[Json]] = queue.SimpleQueue()
        self.deferred: list[Json] = []
        self.session = ""
        self.turns = 0
        self.request_count = 0
        self.tools = 0
        self.cancelled = False
        self.during = ""
        self.servers: list[Json] = []
        self.options: Json = {"mode": "default", "effort": "low", "fast": False, **({"model": "small"} if "--models" in ARGS else {})}

    def config_options(self) -> list[Json]:
        def select(ident: str, category: str, values: list[str]) -> Json:
            options = [{"value": value, "name": value.title()} for value in values]
            return {"id": ident, "name": ident.title(), "category": category, "type": "select", "currentValue": self.options[ident], "options": options}

        switch = {"id": "fast", "name": "Fast", "type": "boolean", "currentValue": self.options["fast"]}
        if "--models" in ARGS:
            return [select("model", "model", ["small", "large"])]
        return [select("mode", "mode", ["default", "plan"]), select("effort", "thought_level", ["low", "high"]), switch]

    def write(self, message: Json) -> None:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()

    def update(self, kind: str, /, **fields: Any) -> None:
        self.write({"method": "session/update", "params": {"sessionId": self.session, "update": {"sessionUpdate": kind, **fields}}})

    def next(self) -> Json:
        message = self.inbox.get()
        if message is None:
            if "--stay" in ARGS:
                threading.Event().wait()
            sys.exit(0)
        return message

    def run(self) -> None:
        while True:
            message = self.deferred.pop(0) if self.deferred else self.next()
            method, ident = message.get("method"), message.get("id")
            if method is None or "--silent" in ARGS:
                continue
            if method == "session/prompt":
                self.prompt(ident, message["params"]["prompt"])
            elif ident is not None:
                self.write({"id": ident, **self.answer(method, message.get("params") or {})})

    def answer(self, method: str, params: Json) -> Json:
        if method == "initialize":
            sessions: Json = {} if "--load" in ARGS else {"resume": {}}
            capabilities: Json = {"loadSession": True, "sessionCapabilities": sessions}
            if "--options" in ARGS:
                capabilities["promptCapabilities"] = {"image": True}
            return {"result": {"protocolVersion": 1, "agentCapabilities": capabilities, "agentInfo": {"name": "scripted", "version": "1.0"}}}
        self.servers = params.get("mcpServers", self.servers)
        if method == "session/new":
            self.session = str(uuid.uuid4())
            offered = {"configOptions": self.config_options()} if "--options" in ARGS or "--models" in ARGS else {}
            return {"result": {"sessionId": self.session, **offered}}
        if method == "session/set_config_option" and "--options" in ARGS:
            self.options[params["configId"]] = params["value"]
            return {"result": {"configOptions": self.config_options()}}
        if method in ("session/load", "session/resume"):
            kept = SESSION_DIR / params["sessionId"] if SESSION_DIR else None
            if kept is None or not kept.exists():
                return {"error": {"code": -32002, "message": "Resource not found: " + params["sessionId"]}}
            self.session = params["sessionId"]
            if method == "session/load":
                for line in kept.read_text().splitlines():
                    kept_chunk = json.loads(line)
                    self.update(kept_chunk["kind"], content=kept_chunk["content"])
            return {"result": {}}
        return {"error": {"code": -32601, "message": "Method not found"}}

    def prompt(self, ident: Any, blocks: list[Json]) -> None:
        self.turns += 1
        self.cancelled = False
        text = "\n".join(block.get("text", "") for block in blocks)
        self.remember("user_message_chunk", text)
        for line in text.splitlines():
            word, _, rest = line.partition(" ")
            ended = self.step(word, rest)
            if ended is not None:
                self.write({"id": ident, **ended})
                return
        usage = {"totalTokens": 15, "inputTokens": 10, "outputTokens": 5}
        self.write({"id": ident, "result": {"stopReason": "end_turn", "usage": usage}})

    def step(self, word: str, rest: str) -> Optional[Json]:
        if word in ("say", "think"):
            kind = "agent_message_chunk" if word == "say" else "agent_thought_chunk"
            for chunk in rest.replace(" ", "\0 ").split("\0"):
                self.update(kind, content={"type": "text", "text": chunk})
            self.remember(kind, rest)
        elif word == "tool":
            kind, size = rest.split()
            call = self.tool(kind, f"a tool of {size} bytes")
            output = ("0123456789abcde\n" * (int(size) // 16 + 1))[: int(size)]
            self.update("tool_call_update", toolCallId=call, status="completed", content=[{"type": "content", "content": {"type": "text", "text": output}}])
        elif word == "servers":
            self.update("agent_message_chunk", content={"type": "text", "text": json.dumps(self.servers, separators=(",", ":"))})
        elif word == "ask":
            call = self.tool(rest or "execute", "touch it", rawInput={"command": "touch it"})
            chosen = self.request_permission(call)
            self.update("tool_call_update", toolCallId=call, status="completed" if chosen in ("yes", "always") else "failed")
            self.update("agent_message_chunk", content={"type": "text", "text": f"chosen: {chosen}"})
        elif word == "request":
            members: Json = json.loads(rest)
            chosen = self.request_permission(self.tool(members.pop("kind", "execute"), members.pop("title", "a call"), **members))
            self.update("agent_message_chunk", content={"type": "text", "text": f"chosen: {chosen}"})
        elif word == "flood":
            idents = {self.ask_permission(self.tool("execute", "touch it", rawInput={"command": f"touch {n}"})) for n in range(int(rest))}
            granted = 0
            while idents and not self.cancelled:
                message = self.next()
                if message.get("id") in idents and "method" not in message:
                    idents.remove(message["id"])
                    granted += message.get("result", {}).get("outcome", {}).get("optionId") in ("yes", "always")
                else:
                    self.handle(message)
            self.update("agent_message_chunk", content={"type": "text", "text": f"granted: {granted}"})
        elif word == "during":
            self.during = rest
        elif word == "edit":
            path, _, content = rest.partition(" ")
            diff = {"type": "diff", "path": str(Path(path).absolute()), "oldText": None, "newText": content}
            call = self.tool("edit", f"Write {path}", content=[diff], locations=[{"path": str(Path(path).absolute())}])
            if self.request_permission(call) in ("yes", "always"):
                Path(path).write_text(content)
                self.update("tool_call_update", toolCallId=call, status="completed")
            else:
                self.update("tool_call_update", toolCallId=call, status="failed")
        elif word == "spawn":
            subprocess.Popen(["sleep", "1000"], start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        elif word == "options":
            self.update("agent_message_chunk", content={"type": "text", "text": json.dumps(self.options)})
        elif word == "wait":
            while not self.cancelled:
                self.handle(self.next())
            return {"result": {"stopReason": "cancelled"}}
        elif word == "fail":
            return {"error": {"code": -32603, "message": rest}}
        elif word == "refuse":
            return {"result": {"stopReason": "refusal"}}
        elif word == "line":
            sys.stdout.write('{"nothing":"' + "x" * (int(rest) - 15) + '"}\n')
            sys.stdout.flush()
        elif word == "stderr":
            sys.stderr.write(("an excuse \x1b[31min red\x1b[0m\n" * (int(rest) // 25 + 1)) + "the last excuse\n")
            sys.stderr.flush()
        elif word in ("exit", "half"):
            if word == "half":
                sys.stdout.write('{"jsonrpc":"2.0","method":"session/upd')
                sys.stdout.flush()
            os._exit(int(rest))
        elif word == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return None

    def tool(self, kind: str, title: str, **fields: Any) -> str:
        self.tools += 1
        call = f"call-{self.turns}-{self.tools}"
        self.update("tool_call", toolCallId=call, title=title, kind=kind, status="pending", **fields)
        return call

    def ask_permission(self, call: str) -> int:
        ident = self.request_count
        self.request_count += 1
        options = [{"optionId": option, "name": name, "kind": kind} for option, name, kind in OPTIONS]
        self.write({"id": ident, "method": "session/request_permission", "params": {"sessionId": self.session, "toolCall": {"toolCallId": call}, "options": options}})
        return ident

    def request_permission(self, call: str) -> str:
        ident = self.ask_permission(call)
        if self.during:
            done = subprocess.run(["sh", "-c", self.during], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.during = ""
            self.update("agent_message_chunk", content={"type": "text", "text": done.stdout.decode()})
        while True:
            message = self.next()
            if "method" not in message and message.get("id") == ident:
                outcome = message.get("result", {}).get("outcome", {})
                return outcome.get("optionId", outcome.get("outcome", "?"))
            self.handle(message)

    def handle(self, message: Json) -> None:
        if message.get("method") == "session/cancel":
            self.cancelled = True
        elif "method" in message:
            self.deferred.append(message)

    def remember(self, kind: str, text: str) -> None:
        if SESSION_DIR:
            SESSION_DIR.mkdir(exist_ok=True)
            with (SESSION_DIR / self.session).open("a") as file:
                file.write(json.dumps({"kind": kind, "content": {"type": "text", "text": text}}) + "\n")


def main() -> None:
    agent = Agent()
    if "--stay" in ARGS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def listen() -> None:
        for line in sys.stdin:
            agent.inbox.put(json.loads(line))
        agent.inbox.put(None)

    threading.Thread(target=listen, daemon=True).start()
    agent.run()


main()
