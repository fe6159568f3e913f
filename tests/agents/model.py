#!/usr/bin/env python3
"""A model server for the tests, so that real agents run without a network and without an account.

It listens on 127.0.0.1 and speaks the four streaming APIs of `apis/`; what it says stands in `scenario.py`. The first line on stdout is the port.
It ends when its stdin does, so that nothing is left behind by a test that dies. Python 3.9 or newer, standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Iterator, Optional
from urllib.parse import urlsplit

from apis import GATE, PAUSE, Cut, Event, chat, gemini, messages, responses
from scenario import Answer, Failure, Json, Settings, answer

GATE_TIMEOUT_SECONDS = 60
"""How long an answer waits for the gate, so that a test that never opens it does not hang."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, settings: Settings, log: Optional[str] = None, gate: Optional[str] = None, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.settings = settings
        self.gate = gate
        self._log = open(log, "a", encoding="utf-8") if log else None
        self._writing = threading.Lock()

    @property
    def port(self) -> int:
        return self.server_address[1]

    def log(self, entry: Json) -> None:
        if self._log:
            with self._writing:
                self._log.write(json.dumps({"at": round(time.time(), 3), **entry}) + "\n")
                self._log.flush()

    def server_close(self) -> None:
        super().server_close()
        if self._log:
            self._log.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores that a client has disconnected; any other error must be visible."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Does nothing: requests go to the log file, and stderr is for errors."""

    def do_HEAD(self) -> None:
        self.note("")
        self.reply(200, {})

    def do_GET(self) -> None:
        self.note("")
        if urlsplit(self.path).path.endswith("/models"):
            self.reply(200, {"object": "list", "data": [], "models": [], "has_more": False})
        else:
            self.reply(404, messages.refusal(404))

    def do_POST(self) -> None:
        body = self.body()
        path = urlsplit(self.path).path
        of_gemini = re.search(r"/models/([^/:]+):(\w+)$", path)
        if path.endswith("/count_tokens"):
            self.note("count", body)
            self.reply(200, {"input_tokens": 1000})
        elif path.endswith("/responses"):
            self.answer(responses, body)
        elif path.endswith("/chat/completions"):
            self.answer(chat, body)
        elif path.endswith("/messages"):
            self.answer(messages, body)
        elif of_gemini and of_gemini[2] == "countTokens":
            self.note("count", body)
            self.reply(200, {"totalTokens": 1000})
        elif of_gemini and of_gemini[2] in ("generateContent", "streamGenerateContent"):
            self.answer(gemini, body, of_gemini[1], of_gemini[2] == "streamGenerateContent")
        else:
            self.note("unknown", body)
            self.reply(404, messages.refusal(404))

    def answer(self, api: Any, body: Json, model: Optional[str] = None, stream: Optional[bool] = None) -> None:
        request = api.read(body)
        request.model = model or request.model
        request.stream = request.stream if stream is None else stream
        result: Answer = answer(request, self.server.settings)
        name = request.scenario(self.server.settings) if request.tools else "title"
        self.note(name, body, api=api.__name__.rpartition(".")[2], step=request.results, answer=type(result).__name__.lower())
        if isinstance(result, Failure) and result.kind.isdigit():
            self.reply(int(result.kind), api.refusal(int(result.kind)))
        elif request.stream:
            self.stream(api.stream(result, request), closing=b"data: [DONE]\n\n" if api is chat else b"")
        elif isinstance(result, Failure):
            self.reply(500, api.refusal(500))
        else:
            self.reply(200, api.whole(result, request))

    # -- bytes -----------------------------------------------------------------

    def body(self) -> Json:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            raw = b"".join(self.chunks())
        else:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            return {}
        return body if isinstance(body, dict) else {}

    def chunks(self) -> Iterator[bytes]:
        while True:
            size = int(self.rfile.readline().split(b";")[0] or b"0", 16)
            chunk = self.rfile.read(size)
            self.rfile.readline()
            if not size:
                return
            yield chunk

    def reply(self, status: int, body: Json) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def stream(self, events: Iterator[Event], closing: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for name, data in events:
                if name == PAUSE:
                    time.sleep(data)
                elif name == GATE:
                    self.wait_for_gate()
                else:
                    head = f"event: {name}\n" if name else ""
                    self.wfile.write(f"{head}data: {json.dumps(data)}\n\n".encode())
            self.wfile.write(closing)
        except Cut:
            return
        except ConnectionError:
            self.note("the client went away")

    def wait_for_gate(self) -> None:
        until = time.monotonic() + GATE_TIMEOUT_SECONDS
        while self.server.gate and not os.path.exists(self.server.gate) and time.monotonic() < until:
            time.sleep(0.01)

    def note(self, scenario: str, body: Optional[Json] = None, **more: Any) -> None:
        self.server.log({"method": self.command, "path": self.path, "scenario": scenario, **more, "body": body})


def arguments(argv: Optional[list[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A model server on 127.0.0.1 for the tests of agents.")
    parser.add_argument("--log", metavar="FILE", help="one JSON line for each request, with its body")
    parser.add_argument("--gate", metavar="FILE", help="fake:gate says its second half when this file is there")
    parser.add_argument("--port", type=int, default=0, help="0, the default, picks one")
    parser.add_argument("--pause-ms", type=float, default=20, help="after each piece of text")
    parser.add_argument("--long-pieces", type=int, default=2000, help="of fake:long")
    parser.add_argument("--slow-pieces", type=int, default=30, help="of fake:slow")
    parser.add_argument("--slow-ms", type=float, default=1000, help="after each piece of fake:slow")
    parser.add_argument("--fallback", default="hello", help="scenario of a prompt that names none")
    return parser.parse_args(argv)


def main() -> None:
    options = arguments()
    settings = Settings(options.pause_ms / 1000, options.long_pieces, options.slow_pieces, options.slow_ms / 1000, options.fallback)
    server = Server(settings, options.log, options.gate, options.port)
    print(server.port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while os.read(0, 4096):
        pass


if __name__ == "__main__":
    main()
