#!/usr/bin/env python3
"""A server for what a real one cannot be made to do: it speaks the protocol, but its runs are what the test says.

How it misbehaves is in the environment:
  FAKE_PROTOCOL=N       answers `initialize` with this protocol version
  FAKE_REFUSE=KIND      answers `initialize` with this failure
  FAKE_CRASH=METHOD     ends without an answer when it is asked this; with FAKE_CRASH_FILE, only as long as that file exists
  FAKE_SCRIPT=FILE      begins with what this JSON list says: {"run": …} and {"entry": …}, `ago` milliseconds old
  FAKE_ARGUMENTS=FILE   writes its own arguments and the params of `initialize` there

Methods of its own, for the test:
  fake/run {run}        a new run, told to all who watch
  fake/push {entry}     the next entry of a run's log: `seq` and `at` are filled in
  fake/set {runId, …}   members of a run that no notification tells of
  fake/hang             is never answered, but for a `$/cancelRequest`
  fake/hold {method}    from now on this method is never answered, either
  fake/result {method, result?}  what this method answers from now on; without a result as before
  fake/calls            what it was asked so far
"""

import json
import os
import re
import sys
import time

runs = {}
logs = {}
attached = {}
calls = []
hanging = []
results = {}
held = set()
greeted = False


def send(message):
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    sys.stdout.buffer.flush()


def notify(method, params):
    if greeted:
        send({"method": method, "params": params})


def fail(code, kind, message, **more):
    raise Refusal({"code": code, "message": message, "data": {"kind": kind, **more}})


class Refusal(Exception):
    def __init__(self, error):
        super().__init__(error["message"])
        self.error = error


def crash(method):
    guard = os.environ.get("FAKE_CRASH_FILE")
    if os.environ.get("FAKE_CRASH") == method and (not guard or os.path.exists(guard)):
        os._exit(7)


def push(entry):
    run = runs[entry["runId"]]
    entry = {**entry, "seq": run["lastSeq"] + 1, "at": entry.get("at", int(time.time() * 1000))}
    run["lastSeq"] = entry["seq"]
    logs[run["id"]].append(entry)
    if entry["kind"] == "state":
        run["state"] = entry["state"]
        run["error"] = entry.get("error")
        if entry["state"] in ("succeeded", "failed", "cancelled", "timedOut", "lost"):
            run["endedAt"] = entry["at"]
            run["permissions"] = []
    elif entry["kind"] == "session":
        run["session"] = entry["session"]
    elif entry["kind"] == "permission":
        rest = [each for each in run["permissions"] if each["permissionId"] != entry["permissionId"]]
        run["permissions"] = rest + ([entry] if entry["status"] == "requested" else [])
    kinds = attached.get(run["id"])
    if entry["kind"] not in ("output", "update") or (kinds is not None and entry["kind"] in kinds):
        notify("run/" + entry["kind"], entry)
    return entry


def run_of(params):
    run = runs.get(params.get("runId"))
    if not run:
        fail(-32001, "runNotFound", "there is no such run", runId=params.get("runId"))
    return run


def initialize(params):
    if os.environ.get("FAKE_ARGUMENTS"):
        with open(os.environ["FAKE_ARGUMENTS"], "w") as file:
            json.dump({"argv": sys.argv, "params": params, "mark": os.environ.get("FAKE_MARK")}, file)
    if os.environ.get("FAKE_REFUSE"):
        fail(-32018, os.environ["FAKE_REFUSE"], "config.toml, line 3: there is no key `providrs`; write `providers`")
    agent = {name: True for name in ("resume", "send", "steer", "interrupt", "permissions", "updates")}
    return {
        "protocolVersion": int(os.environ.get("FAKE_PROTOCOL", "1")),
        "serverInfo": {"name": "loomd", "version": "9.9.9"},
        "storePath": "/nowhere",
        "providers": [
            {"id": "command", "title": "Command", "kind": "command", "available": True, "capabilities": {name: False for name in agent}},
            {"id": "codex", "title": "Codex", "kind": "codex", "available": True, "capabilities": agent},
            {"id": "claude", "title": "Claude", "kind": "claude", "available": True, "capabilities": agent},
            {"id": "acp", "title": "Agent Client Protocol", "kind": "acp", "available": False, "reason": "name its command", "capabilities": agent},
        ],
        "capabilities": {"methods": [], "maxFrameBytes": 67108864, "output": {"minIntervalMs": 0, "maxChunkBytes": 65536}},
    }


def read(params):
    log = logs[run_of(params)["id"]]
    kinds = params.get("kinds")
    wanted = [entry for entry in log if not kinds or entry["kind"] in kinds]
    if "beforeSeq" in params:
        before = [entry for entry in wanted if entry["seq"] < params["beforeSeq"]]
        page, size = [], 0
        while before and (not page or size < params.get("maxBytes", 1 << 20)):
            page.insert(0, before.pop())
            size += len(json.dumps(page[0]))
        return {"entries": page, "prevBeforeSeq": page[0]["seq"] if page else 1, "atStart": not before}
    page = [entry for entry in wanted if entry["seq"] > params.get("afterSeq", 0)]
    return {"entries": page, "nextAfterSeq": len(log), "atEnd": True}


def attach(params):
    run = run_of(params)
    attached[run["id"]] = params.get("kinds") or ["output", "update"]
    after = [entry for entry in logs[run["id"]] if entry["seq"] > params.get("afterSeq", 0)]
    later.extend(("run/" + entry["kind"], entry) for entry in after if entry["kind"] not in ("output", "update") or entry["kind"] in attached[run["id"]])
    return {"run": run}


def written(run, stream=None):
    return "".join(entry["text"] for entry in logs[run["id"]] if entry["kind"] == "output" and stream in (None, entry["stream"])).encode()


def text(params):
    whole = written(run_of(params), params.get("stream"))
    begin = params.get("offset", 0)
    page = whole[begin : begin + params.get("maxBytes", 1 << 20)]
    return {"text": page.decode(errors="replace"), "offset": begin, "nextOffset": begin + len(page), "totalBytes": len(whole)}


def search(params):
    """Line by line, the newest run first; the cursor is the number of the next hit."""
    flags = re.IGNORECASE if params.get("ignoreCase") else 0
    pattern = re.compile((params["query"] if params.get("regex") else re.escape(params["query"])).encode(), flags)
    hits = []
    for run in listed({})["runs"]:
        if params.get("runId") in (None, run["id"]):
            for stream in ("stdout", "stderr"):
                begin = 0
                for line in written(run, stream).splitlines(keepends=True):
                    found = pattern.search(line)
                    if found:
                        seq = next(entry["seq"] for entry in logs[run["id"]] if entry["kind"] == "output" and entry["stream"] == stream and entry["offset"] + len(entry["text"].encode()) > begin)
                        hits.append({"runId": run["id"], "seq": seq, "stream": stream, "offset": begin + found.start(), "line": line.decode().rstrip("\n")})
                    begin += len(line)
    begin = int(params.get("cursor", 0))
    end = begin + params.get("limit", 50)
    return {"hits": hits[begin:end], **({"nextCursor": str(end)} if end < len(hits) else {})}


def configure(params):
    run = run_of(params)
    run["params"].update({key: params[key] for key in ("model", "permissions") if key in params})
    notify("run/changed", {"run": run})
    return {"run": run}


def answer(params):
    run = run_of(params)
    entry = next((each for each in run["permissions"] if each["permissionId"] == params["permissionId"]), None)
    if not entry:
        fail(-32017, "permissionResolved", "this question has been answered")
    resolved = {key: params[key] for key in ("optionId", "cancelled", "message") if key in params}
    push({"kind": "permission", "runId": run["id"], "permissionId": params["permissionId"], "status": "resolved", "by": "client", **resolved})
    if not run["permissions"]:
        push({"kind": "state", "runId": run["id"], "state": "running", "turn": 1})
    return {}


def new_run(params):
    run = {
        "provider": "codex", "labels": {}, "pinned": False, "params": {}, "command": ["codex"], "cwd": "/", "state": "running", "permissions": [],
        "createdAt": int(time.time() * 1000), "lastSeq": 0, "durableSeq": 0, "bytes": {"stdout": 0, "stderr": 0}, **params["run"],
    }  # fmt: skip
    runs[run["id"]] = run
    logs[run["id"]] = []
    notify("run/changed", {"run": run})
    return {"run": run}


def start(params):
    number = len(runs) + 1
    known = {key: value for key, value in params.items() if key not in ("env", "attach")}
    return new_run({"run": {"id": "00000000-0000-7000-8000-%012x" % number, "provider": params["provider"], "params": known, "cwd": params["cwd"]}})


def set_result(params):
    results[params["method"]] = params.get("result")
    return {}


def listed(params):
    chosen = [run for run in runs.values() if not params.get("states") or run["state"] in params["states"]]
    return {"runs": sorted(chosen, key=lambda run: run["createdAt"], reverse=True)}


def edit(params):
    run = run_of(params)
    run.update({key: params[key] for key in ("title", "labels", "pinned") if key in params})
    notify("run/changed", {"run": run})
    return {"run": run}


methods = {
    "initialize": initialize,
    "provider/list": lambda params: {"providers": initialize({})["providers"]},
    "run/start": start,
    "run/list": listed,
    "run/get": lambda params: {"run": run_of(params)},
    "run/read": read,
    "run/text": text,
    "run/search": search,
    "run/configure": configure,
    "run/attach": attach,
    "run/detach": lambda params: attached.pop(params["runId"], None) and {} or {},
    "run/answer": answer,
    "run/edit": edit,
    "run/send": lambda params: {},
    "run/cancel": lambda params: push({"kind": "state", "runId": params["runId"], "state": "cancelled"}) and {"run": run_of(params)},
    "shutdown": lambda params: None,
    "fake/run": new_run,
    "fake/push": lambda params: push(params["entry"]),
    "fake/result": set_result,
    "fake/set": lambda params: run_of(params).update(params) or {},
    "fake/hold": lambda params: held.add(params["method"]) or {},
    "fake/calls": lambda params: {"calls": calls},
}

later = []


def play(path):
    """Runs and entries that are there from the beginning; what stands as "$CWD" is the directory of this process."""
    with open(path) as file:
        steps = json.loads(file.read().replace("$CWD", os.getcwd()))
    now = int(time.time() * 1000)
    for step in steps:
        at = now - step.get("ago", 0)
        if "run" in step:
            new_run({"run": {"createdAt": at, "startedAt": at, **step["run"]}})
        else:
            push({"at": at, **step["entry"]})


def handle(message):
    global greeted
    method, params, identity = message.get("method"), message.get("params") or {}, message.get("id")
    if isinstance(params, list):
        params = {}
    crash(method)
    if not method.startswith("fake/"):
        calls.append({"method": method, "params": params})
    if method == "exit":
        sys.exit(0)
    elif method == "$/cancelRequest":
        if params["id"] in hanging:
            hanging.remove(params["id"])
            send({"id": params["id"], "error": {"code": -32800, "message": "cancelled", "data": {"kind": "cancelled"}}})
    elif method == "fake/hang" or method in held:
        hanging.append(identity)
    elif identity is not None:
        try:
            if results.get(method) is not None:
                send({"id": identity, "result": results[method]})
            elif method in methods:
                send({"id": identity, "result": methods[method](params)})
            else:
                fail(-32601, "methodNotFound", "there is no method " + method)
        except Refusal as refusal:
            send({"id": identity, "error": refusal.error})
        if method == "initialize":
            greeted = True
        while later:
            notify(*later.pop(0))


def main():
    if os.environ.get("FAKE_SCRIPT"):
        play(os.environ["FAKE_SCRIPT"])
    source = sys.stdin.buffer
    while True:
        length = None
        while True:
            line = source.readline()
            if not line:
                return
            if line.strip() == b"":
                break
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        handle(json.loads(source.read(length)))


main()
