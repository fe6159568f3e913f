"""OpenAI Responses: Codex and what is built on it."""

from __future__ import annotations

import itertools
import json
from typing import Any, Iterator

from scenario import Answer, ModelRequest, Call, Failure, Json, Say, text_in

from . import ERRORS, GATE, INPUT_TOKENS, PAUSE, Cut, Event, fresh, output_tokens, paced


def read(body: Json) -> ModelRequest:
    request = ModelRequest(body.get("model", ""), bool(body.get("stream")))
    add_tools(request, body.get("tools"))
    items = body.get("input") or []
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    for item in items:
        kind = item.get("type", "message")
        if kind == "message" and item.get("role") == "user":
            request.add_user_text(text_in(item.get("content")))
        elif kind == "additional_tools":
            add_tools(request, item.get("tools"))
        elif kind.endswith("_output"):
            add_tools(request, item.get("tools"))
            request.add_result()
    return request


def add_tools(request: ModelRequest, tools: Any, namespace: str = "") -> None:
    """Adds tools by name. Those of a namespace are one level deeper."""
    for tool in tools or []:
        if tool.get("type") == "namespace":
            add_tools(request, tool.get("tools"), tool.get("name") or "")
            continue
        name = tool.get("name") or tool.get("type", "")
        request.tools[name] = tool.get("parameters") or {}
        if namespace:
            request.namespaces[name] = namespace


def stream(answer: Answer, request: ModelRequest) -> Iterator[Event]:
    numbers = itertools.count()
    for name, data in events(answer, request):
        if name in (PAUSE, GATE):
            yield name, data
        else:
            yield name, {"type": name, "sequence_number": next(numbers), **data}


def events(answer: Answer, request: ModelRequest) -> Iterator[Event]:
    response: Json = {"id": fresh("resp"), "object": "response", "model": request.model, "output": []}
    yield "response.created", {"response": {**response, "status": "in_progress"}}
    yield "response.in_progress", {"response": {**response, "status": "in_progress"}}
    done: list[Json] = []
    if isinstance(answer, Failure):
        # The message is begun and never closed.
        yield from itertools.islice(message(Say(["Half", " of"]), done), 4)
        if answer.kind == "drop":
            raise Cut
        error = {"code": "server_error", "message": "the model of the tests fails in mid-stream"}
        yield "response.failed", {"response": {**response, "status": "failed", "error": error}}
        return
    if isinstance(answer, Say):
        if answer.thoughts:
            yield from reasoning(answer, done)
        yield from message(answer, done)
    else:
        if answer.preface:
            yield from message(Say([answer.preface]), done)
        yield from call(answer, done)
    output = output_tokens(answer)
    usage = {
        "input_tokens": INPUT_TOKENS,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": INPUT_TOKENS + output,
    }
    yield "response.completed", {"response": {**response, "status": "completed", "output": done, "usage": usage}}


def message(say: Say, done: list[Json]) -> Iterator[Event]:
    place = len(done)
    item: Json = {"id": fresh("msg"), "type": "message", "role": "assistant", "content": []}
    yield "response.output_item.added", {"output_index": place, "item": {**item, "status": "in_progress"}}
    where = {"item_id": item["id"], "output_index": place, "content_index": 0}
    yield "response.content_part.added", {**where, "part": {"type": "output_text", "text": "", "annotations": []}}
    for mark, piece in paced(say, say.pieces):
        yield (mark, piece) if mark else ("response.output_text.delta", {**where, "delta": piece})
    part = {"type": "output_text", "text": "".join(say.pieces), "annotations": []}
    yield "response.output_text.done", {**where, "text": part["text"]}
    yield "response.content_part.done", {**where, "part": part}
    done.append({**item, "status": "completed", "content": [part]})
    yield "response.output_item.done", {"output_index": place, "item": done[-1]}


def reasoning(say: Say, done: list[Json]) -> Iterator[Event]:
    place = len(done)
    item: Json = {"id": fresh("rs"), "type": "reasoning", "summary": []}
    yield "response.output_item.added", {"output_index": place, "item": item}
    where = {"item_id": item["id"], "output_index": place, "summary_index": 0}
    yield "response.reasoning_summary_part.added", {**where, "part": {"type": "summary_text", "text": ""}}
    for mark, piece in paced(say, say.thoughts):
        yield (mark, piece) if mark else ("response.reasoning_summary_text.delta", {**where, "delta": piece})
    part = {"type": "summary_text", "text": "".join(say.thoughts)}
    yield "response.reasoning_summary_text.done", {**where, "text": part["text"]}
    done.append({**item, "summary": [part]})
    yield "response.output_item.done", {"output_index": place, "item": done[-1]}


def call(tool_call: Call, done: list[Json]) -> Iterator[Event]:
    place = len(done)
    item: Json = {"id": fresh("fc"), "call_id": fresh("call"), "name": tool_call.name, "status": "completed"}
    if tool_call.namespace:
        item["namespace"] = tool_call.namespace
    if tool_call.name == "tool_search":
        del item["name"]
        item.update(type="tool_search_call", execution="client", arguments=tool_call.input)
    elif isinstance(tool_call.input, str):
        item.update(type="custom_tool_call", input=tool_call.input)
    else:
        item.update(type="function_call", arguments=json.dumps(tool_call.input))
    yield "response.output_item.added", {"output_index": place, "item": {**item, "status": "in_progress"}}
    if item["type"] == "function_call":
        where = {"item_id": item["id"], "output_index": place}
        yield "response.function_call_arguments.delta", {**where, "delta": item["arguments"]}
        yield "response.function_call_arguments.done", {**where, "arguments": item["arguments"]}
    done.append(item)
    yield "response.output_item.done", {"output_index": place, "item": item}


def whole(answer: Answer, request: ModelRequest) -> Json:
    last = [data for name, data in events(answer, request) if name not in (PAUSE, GATE)][-1]
    return last["response"]


def refusal(status: int) -> Json:
    kind = ERRORS.get(status, "server_error")
    return {"error": {"message": f"the model of the tests refuses with {status}", "type": kind, "code": kind}}
