#!/usr/bin/env python3
"""An agent that plays a script: `agent.py SCRIPT [ARGUMENTS THAT ARE IGNORED]`.

A script has one step a line, a list of JSON:
  ["take", NAME]   waits for the next message whose method, type or request is NAME; "answer" is any response
  ["send", VALUE]  writes VALUE as a line; "$id:NAME" in it is the id of the message NAME that was taken last
  ["write", TEXT]  writes TEXT as it is, "$id:NAME" replaced in the same way, as JSON
Empty lines and those that begin with # are left out. After the last step the agent waits for the end of its input.
"""
import json
import os
import sys

taken = {}


def name_of(message):
    request = message.get("request") or {}
    return message.get("method") or request.get("subtype") or message.get("type") or "answer"


def take(name):
    for line in sys.stdin:
        message = json.loads(line)
        found = name_of(message)
        if found == "control_response":
            found = "answer"
        if found == name:
            taken[name] = message.get("id", message.get("request_id", message.get("uuid")))
            return
    sys.exit(0)


def filled(text):
    for name, value in taken.items():
        text = text.replace(json.dumps("$id:" + name), json.dumps(value))
    return text


def write(text):
    data = text.encode()
    while data:
        data = data[os.write(1, data):]


for step in open(sys.argv[1], encoding="utf-8"):
    if not step.strip() or step.startswith("#"):
        continue
    verb, value = json.loads(step)
    if verb == "take":
        take(value)
    elif verb == "send":
        write(filled(json.dumps(value)) + "\n")
    else:
        write(filled(value))
sys.stdin.read()
