"""An agent of the Agent Client Protocol that does what its prompt says, for tests of the command line.

Commands in a prompt, one a line: `say TEXT`, `think TEXT`, `tool LINES` (a command that writes so many lines), `edit`, `plan`,
`ask` (a command that needs a permission), `wait FILE` (until the file is there or the turn is cancelled), `fail`.
"""

import json
import os
import sys
import threading
import time

WRITING = threading.Lock()
CANCELLED = threading.Event()
ANSWERS = {}
ANSWERED = threading.Condition()
# What an agent may say to take over the terminal of whoever reads it.
EVIL = os.environ.get("EVIL", "")
SESSION = "session-of-the-agent" + EVIL


def write(message):
    with WRITING:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def update(**fields):
    write({"method": "session/update", "params": {"sessionId": SESSION, "update": fields}})


def chunk(kind, text):
    update(sessionUpdate=kind, content={"type": "text", "text": text})


def text_content(text):
    return [{"type": "content", "content": {"type": "text", "text": text}}]


def ask(number, command="rm -rf build", evil=""):
    tool = {"toolCallId": f"ask-{number}", "title": command, "kind": "execute", "rawInput": {"command": command}}
    update(sessionUpdate="tool_call", status="pending", **tool)
    if evil:
        tool["rawInput"][evil] = evil
        tool["locations"] = [{"path": "/" + evil}]
    options = [
        {"optionId": "allow" + evil, "name": "Allow once" + evil, "kind": "allow_once"},
        {"optionId": "always", "name": "Always allow", "kind": "allow_always"},
        {"optionId": "reject", "name": "Reject", "kind": "reject_once"},
    ]
    request = f"request-{number}"
    params = {"sessionId": SESSION, "toolCall": tool, "options": options}
    write({"id": request, "method": "session/request_permission", "params": params})
    with ANSWERED:
        ANSWERED.wait_for(lambda: request in ANSWERS)
    outcome = ANSWERS[request]["outcome"]
    chosen = outcome.get("optionId", outcome["outcome"])
    done = chosen in ("allow", "always")
    update(sessionUpdate="tool_call_update", toolCallId=tool["toolCallId"], status="completed" if done else "failed")
    chunk("agent_message_chunk", f"You chose {chosen}.")


def obey(number, line):
    command, _, rest = line.partition(" ")
    tool = f"{command}-{number}"
    if command == "say":
        for part in rest.split(" "):
            chunk("agent_message_chunk", part + " ")
    elif command == "think":
        chunk("agent_thought_chunk", rest)
    elif command == "tool":
        update(sessionUpdate="tool_call", toolCallId=tool, title="make all", kind="execute", status="in_progress")
        lines = "".join(f"line {n}\n" for n in range(1, int(rest) + 1))
        update(sessionUpdate="tool_call_update", toolCallId=tool, status="completed", content=text_content(lines))
    elif command == "edit":
        diff = {"type": "diff", "path": os.path.abspath("notes.txt"), "oldText": "one\n", "newText": "one\ntwo\n"}
        update(sessionUpdate="tool_call", toolCallId=tool, title="Edit notes.txt", kind="edit", status="completed", content=[diff])
    elif command == "plan":
        update(sessionUpdate="plan", entries=[{"content": "look", "status": "in_progress", "priority": "high"}])
    elif command == "ask":
        ask(number)
    elif command == "asklong":
        ask(number, "".join(f"line {n}\n" for n in range(1, int(rest) + 1)))
    elif command == "evil":
        chunk("agent_message_chunk", EVIL)
        chunk("agent_thought_chunk", EVIL)
        update(sessionUpdate="tool_call", toolCallId=tool, title=EVIL, kind="execute", status="in_progress")
        update(sessionUpdate="tool_call_update", toolCallId=tool, status="completed", content=text_content(EVIL))
        diff = {"type": "diff", "path": "/" + EVIL, "oldText": "one\n", "newText": EVIL}
        update(sessionUpdate="tool_call", toolCallId=tool + "e", title="Edit", kind="edit", status="completed", content=[diff])
        update(sessionUpdate="plan", entries=[{"content": EVIL, "status": "in_progress", "priority": "high"}])
        ask(number, EVIL, EVIL)
    elif command == "wait":
        chunk("agent_message_chunk", "waiting\n")
        while not CANCELLED.is_set() and not os.path.exists(rest):
            time.sleep(0.02)
        chunk("agent_message_chunk", "went on" if os.path.exists(rest) else "stopped")


def turn(request):
    CANCELLED.clear()
    prompt = "\n".join(block.get("text", "") for block in request["params"]["prompt"])
    lines = prompt.strip().splitlines()
    if "evilfail" in lines:
        write({"id": request["id"], "error": {"code": -32603, "message": EVIL}})
        return
    if "fail" in lines:
        write({"id": request["id"], "error": {"code": -32603, "message": "the model is out of order"}})
        return
    for at, line in enumerate(lines):
        obey(f"{request['id']}-{at}", line)
    reason = "cancelled" if CANCELLED.is_set() else "end_turn"
    write({"id": request["id"], "result": {"stopReason": reason}})


def main():
    name = sys.argv[1] if len(sys.argv) > 1 else "scripted"
    for line in sys.stdin:
        message = json.loads(line)
        method, number = message.get("method"), message.get("id")
        if method is None:
            with ANSWERED:
                ANSWERS[number] = message.get("result", {"outcome": {"outcome": "failed"}})
                ANSWERED.notify_all()
        elif method == "initialize":
            capabilities = {"loadSession": True, "sessionCapabilities": {"resume": {}, "list": {}}}
            info = {"name": name, "version": "1.0"}
            write({"id": number, "result": {"protocolVersion": 1, "agentCapabilities": capabilities, "agentInfo": info}})
        elif method in ("session/new", "session/load", "session/resume"):
            write({"id": number, "result": {"sessionId": SESSION}})
        elif method == "session/list":
            sessions = [{"sessionId": SESSION, "cwd": os.getcwd(), "title": "An old session" + EVIL, "updatedAt": "2026-01-02T03:04:05Z"}]
            write({"id": number, "result": {"sessions": sessions}})
        elif method == "session/prompt":
            threading.Thread(target=turn, args=[message], daemon=True).start()
        elif method == "session/cancel":
            CANCELLED.set()
        elif number is not None:
            write({"id": number, "error": {"code": -32601, "message": "unknown"}})


main()
