#!/usr/bin/env python3
"""A fake server: it speaks the protocol, and a spec decides what its runs do and how it fails.

Environment variables select how it fails:
  FAKE_PROTOCOL=N       answers `initialize` with this protocol version
  FAKE_REFUSE=KIND      answers `initialize` with an error of this kind
  FAKE_CRASH=METHOD     exits without a response to this method; with FAKE_CRASH_FILE, only while that file exists
  FAKE_SCRIPT=FILE      starts with what this JSON list has: {"run": …}, {"entry": …} and {"item": …}, `ago` milliseconds old
  FAKE_ARGUMENTS=FILE   writes its own arguments and the params of `initialize` there

Methods for the specs:
  fake/run {run}        adds a run and notifies the client
  fake/push {entry}     adds an entry to a run's log, with its `seq` and, if absent, `at`. A permission and the end of a
                        turn also become items; `shown` of a permission is that of its item
  fake/item {runId, item}  adds an item, or changes the members of the one with that number
  fake/append {runId, item, append}  appends to an item
  fake/set {runId, …}   sets members of a run without a notification
  fake/hang             is answered only after a `$/cancelRequest`
  fake/hold {method}    answers this method only after a `$/cancelRequest` from now on
  fake/result {method, result?, error?}  sets the result of this method, or the message with which it fails; without both
                        the method works as before
  fake/calls            lists the requests so far
"""

import json
import os
import re
import sys
import time

runs = {}
logs = {}
items = {}
attached = {}
calls = []
hanging = []
results = {}
errors = {}
held_methods = set()
initialized = False


def send(message):
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    sys.stdout.buffer.flush()


def notify(method, params):
    if initialized:
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
    push_item_of(entry)
    entry.pop("shown", None)
    kinds = attached.get(run["id"])
    if entry["kind"] not in ("output", "update") or (kinds is not None and entry["kind"] in kinds):
        notify("run/" + entry["kind"], entry)
    return entry


def push_item_of(entry):
    """What becomes of a permission and of a state in the transcript."""
    run = entry["runId"]
    if entry["kind"] == "permission":
        item = next((each for each in items[run] if each.get("permissionId") == entry["permissionId"]), None)
        if entry["status"] == "resolved":
            if item:
                push_item(run, {"item": item["item"], "resolved": {key: entry[key] for key in ("optionId", "cancelled", "message", "by", "rule") if key in entry}}, entry)
            return
        call = entry["toolCall"]
        shown = [{"label": "title", "text": call.get("title", "")}, *({"label": key, "text": str(value)} for key, value in (call.get("rawInput") or {}).items())]
        new = {"kind": "permission", "permissionId": entry["permissionId"], "toolCallId": call.get("toolCallId", ""), "toolCall": call, "options": entry["options"]}
        push_item(run, {**new, "shown": entry.get("shown") or shown}, entry)
    elif entry["kind"] == "state" and entry["state"] not in ("starting", "running", "awaitingPermission"):
        push_item(run, {"kind": "turn", **{key: entry[key] for key in ("state", "turn", "stopReason", "usage", "error", "exitCode", "signal") if key in entry}}, entry)


def push_item(run_id, item, entry):
    known = items[run_id]
    at = next((index for index, each in enumerate(known) if each["item"] == item.get("item")), None)
    if at is None:
        item = {"item": len(known) + 1, "seq": entry["seq"], "at": entry["at"], **item}
        at = len(known)
        known.append(item)
    known[at] = {**known[at], **item, "lastSeq": entry["seq"]}
    notify_item(run_id, {"runId": run_id, "seq": entry["seq"], "item": known[at]})
    return known[at]


def notify_item(run_id, params):
    if attached.get(run_id) == ["items"]:
        notify("run/item", params)


def fake_item(params):
    run_id, item = params["runId"], params["item"]
    entry = push({"runId": run_id, "kind": "update", "update": {}, **({"at": item["at"]} if "at" in item else {})})
    return {"item": push_item(run_id, item, entry)}


def fake_append(params):
    run_id, append = params["runId"], params["append"]
    entry = push({"runId": run_id, "kind": "update", "update": {}})
    item = next(each for each in items[run_id] if each["item"] == params["item"])
    item["lastSeq"] = entry["seq"]
    if "text" in append:
        item["text"] += append["text"]
    for name in ("output", "stderr"):
        if name in append:
            output = item.setdefault(name, {"text": ""})
            drop, at = append[name].get("dropBytes", 0), output.get("omittedAt", 0)
            output["text"] = output["text"][:at] + output["text"][at + drop :] + append[name]["text"]
            if drop:
                output["omittedBytes"] = output.get("omittedBytes", 0) + drop
    notify_item(run_id, {"runId": run_id, "seq": entry["seq"], "item": params["item"], "append": append})
    return {}


def page_of_items(params):
    run = run_of(params)
    known, limit, most = items[run["id"]], params.get("limit", 200), params.get("maxBytes", 1 << 20)
    after = params.get("after")
    chosen = [item for item in known if item["item"] > after] if after is not None else [item for item in known if item["item"] < params.get("before", len(known) + 1)]
    page = chosen[:limit] if after is not None else chosen[-limit:]
    while len(page) > 1 and len(json.dumps(page)) > most:
        page.pop() if after is not None else page.pop(0)
    ends = {}
    if page and page[-1]["item"] < len(known):
        ends["next"] = page[-1]["item"]
    if page and page[0]["item"] > 1:
        ends["prev"] = page[0]["item"]
    return {"items": page, "total": len(known), "seq": run["lastSeq"], **ends}


def get_item(params):
    """An item with nothing omitted: the members of its `whole` take the place of what is left out."""
    item = next(each for each in items[run_of(params)["id"]] if each["item"] == params["item"])
    return {"item": {**item, **item.get("whole", {})}}


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
        "foldVersion": 1,
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
    if params.get("as") == "items":
        attached[run["id"]] = ["items"]
        changed = [item for item in items[run["id"]] if item["lastSeq"] > params.get("afterSeq", 0)]
        queued_notifications.extend(("run/item", {"runId": run["id"], "seq": item["lastSeq"], "item": item}) for item in changed)
        return {"run": run}
    attached[run["id"]] = params.get("kinds") or ["output", "update"]
    after = [entry for entry in logs[run["id"]] if entry["seq"] > params.get("afterSeq", 0)]
    queued_notifications.extend(("run/" + entry["kind"], entry) for entry in after if entry["kind"] not in ("output", "update") or entry["kind"] in attached[run["id"]])
    return {"run": run}


def output_of(run, stream=None):
    return "".join(entry["text"] for entry in logs[run["id"]] if entry["kind"] == "output" and stream in (None, entry["stream"])).encode()


def text(params):
    whole = output_of(run_of(params), params.get("stream"))
    begin = params.get("offset", 0)
    page = whole[begin : begin + params.get("maxBytes", 1 << 20)]
    return {"text": page.decode(errors="replace"), "offset": begin, "nextOffset": begin + len(page), "totalBytes": len(whole)}


def search(params):
    """Searches line by line, the newest run first; the cursor is the index of the next result."""
    flags = re.IGNORECASE if params.get("ignoreCase") else 0
    pattern = re.compile((params["query"] if params.get("regex") else re.escape(params["query"])).encode(), flags)
    hits = []
    for run in list_runs({})["runs"]:
        if params.get("runId") in (None, run["id"]):
            for stream in ("stdout", "stderr"):
                begin = 0
                for line in output_of(run, stream).splitlines(keepends=True):
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


def name(run):
    prompt = run["params"].get("prompt")
    if isinstance(prompt, list):
        prompt = "\n".join(block["text"] for block in prompt if "text" in block)
    run["displayTitle"] = run.get("title") or prompt or ("(no prompt)" if run["hasTranscript"] else " ".join(run["params"].get("command", ["?"])))


def new_run(params):
    run = {
        "provider": "codex", "labels": {}, "pinned": False, "params": {}, "command": ["codex"], "cwd": "/", "state": "running", "permissions": [],
        "createdAt": int(time.time() * 1000), "lastSeq": 0, "durableSeq": 0, "bytes": {"stdout": 0, "stderr": 0}, **params["run"],
    }  # fmt: skip
    run["hasTranscript"] = run["provider"] != "command"
    name(run)
    runs[run["id"]] = run
    logs[run["id"]] = []
    items[run["id"]] = []
    notify("run/changed", {"run": run})
    return {"run": run}


def start(params):
    number = len(runs) + 1
    known = {key: value for key, value in params.items() if key not in ("env", "attach")}
    return new_run({"run": {"id": "00000000-0000-7000-8000-%012x" % number, "provider": params["provider"], "params": known, "cwd": params["cwd"]}})


def set_result(params):
    results[params["method"]] = params.get("result")
    errors[params["method"]] = params.get("error")
    return {}


def list_runs(params):
    chosen = [run for run in runs.values() if not params.get("states") or run["state"] in params["states"]]
    return {"runs": sorted(chosen, key=lambda run: run["createdAt"], reverse=True)}


def edit(params):
    run = run_of(params)
    run.update({key: params[key] for key in ("title", "labels", "pinned") if key in params})
    name(run)
    notify("run/changed", {"run": run})
    return {"run": run}


rules = []


def add_rule(params):
    rule = {"id": "r%d" % (len(rules) + 1), **params["rule"]}
    rules.append(rule)
    return {"rule": rule}


def remove_rule(params):
    rules[:] = [rule for rule in rules if rule["id"] != params["ruleId"]]
    return {}


methods = {
    "initialize": initialize,
    "provider/list": lambda params: {"providers": initialize({})["providers"]},
    "run/start": start,
    "run/list": list_runs,
    "run/get": lambda params: {"run": run_of(params)},
    "run/read": read,
    "run/text": text,
    "run/search": search,
    "run/configure": configure,
    "run/items": page_of_items,
    "run/getItem": get_item,
    "run/attach": attach,
    "rule/list": lambda params: {"rules": rules},
    "rule/add": add_rule,
    "rule/remove": remove_rule,
    "run/detach": lambda params: attached.pop(params["runId"], None) and {} or {},
    "run/answer": answer,
    "run/edit": edit,
    "run/send": lambda params: {},
    "run/cancel": lambda params: push({"kind": "state", "runId": params["runId"], "state": "cancelled"}) and {"run": run_of(params)},
    "shutdown": lambda params: None,
    "fake/run": new_run,
    "fake/push": lambda params: push(params["entry"]),
    "fake/item": fake_item,
    "fake/append": fake_append,
    "fake/result": set_result,
    "fake/set": lambda params: run_of(params).update(params) or {},
    "fake/hold": lambda params: held_methods.add(params["method"]) or {},
    "fake/calls": lambda params: {"calls": calls},
}

queued_notifications = []


def load_script(path):
    """Adds the runs and entries of FAKE_SCRIPT; "$CWD" in it is the working directory."""
    with open(path) as file:
        steps = json.loads(file.read().replace("$CWD", os.getcwd()))
    now = int(time.time() * 1000)
    for step in steps:
        at = now - step.get("ago", 0)
        if "item" in step:
            fake_item({"runId": step["runId"], "item": {"at": at, **step["item"]}})
        elif "run" in step:
            new_run({"run": {"createdAt": at, "startedAt": at, **step["run"]}})
        else:
            push({"at": at, **step["entry"]})


def handle(message):
    global initialized
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
    elif method == "fake/hang" or method in held_methods:
        hanging.append(identity)
    elif identity is not None:
        try:
            if errors.get(method):
                fail(-32603, "internal", errors[method])
            if results.get(method) is not None:
                send({"id": identity, "result": results[method]})
            elif method in methods:
                send({"id": identity, "result": methods[method](params)})
            else:
                fail(-32601, "methodNotFound", f"unknown method `{method}`")
        except Refusal as refusal:
            send({"id": identity, "error": refusal.error})
        if method == "initialize":
            initialized = True
        while queued_notifications:
            notify(*queued_notifications.pop(0))


def main():
    if os.environ.get("FAKE_SCRIPT"):
        load_script(os.environ["FAKE_SCRIPT"])
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
