"""Anthropic messages: Claude Code and what is built on it."""

from __future__ import annotations

import itertools
import json
from typing import Iterator

from scenario import Answer, ModelRequest, Failure, Json, Say

from . import ERRORS, INPUT_TOKENS, Cut, Event, fresh, output_tokens, paced, text_of


def read(body: Json) -> ModelRequest:
    tools = {tool["name"]: tool.get("input_schema") or {} for tool in body.get("tools") or []}
    request = ModelRequest(body.get("model", ""), bool(body.get("stream")), tools)
    for message in body.get("messages") or []:
        if message.get("role") != "user":
            continue
        content = message.get("content") or []
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if block.get("type") == "tool_result":
                request.add_result()
            elif block.get("type") == "text":
                request.add_user_text(block.get("text") or "")
    return request


def stream(answer: Answer, request: ModelRequest) -> Iterator[Event]:
    for name, data in events(answer, request):
        yield name, {"type": name, **data} if isinstance(data, dict) else data


def events(answer: Answer, request: ModelRequest) -> Iterator[Event]:
    yield "message_start", {"message": {**envelope(request), "content": [], "stop_reason": None, "usage": usage(1)}}
    yield "ping", {}
    if isinstance(answer, Failure):
        # The block is begun and never closed.
        yield from itertools.islice(text_block(0, Say(["Half", " of"])), 3)
        if answer.kind == "drop":
            raise Cut
        yield "error", {"error": {"type": "overloaded_error", "message": "the model of the tests fails in mid-stream"}}
        return
    places = itertools.count()
    if isinstance(answer, Say):
        if answer.thoughts:
            yield from thinking_block(next(places), answer)
        yield from text_block(next(places), answer)
        reason = "end_turn"
    else:
        if answer.preface:
            yield from text_block(next(places), Say([answer.preface]))
        place = next(places)
        opened = {"type": "tool_use", "id": fresh("toolu"), "name": answer.name, "input": {}}
        yield "content_block_start", {"index": place, "content_block": opened}
        input_text = json.dumps(answer.input)
        for part in (input_text[: len(input_text) // 2], input_text[len(input_text) // 2 :]):
            yield "content_block_delta", {"index": place, "delta": {"type": "input_json_delta", "partial_json": part}}
        yield "content_block_stop", {"index": place}
        reason = "tool_use"
    ending = {"stop_reason": reason, "stop_sequence": None}
    yield "message_delta", {"delta": ending, "usage": usage(output_tokens(answer))}
    yield "message_stop", {}


def text_block(place: int, say: Say) -> Iterator[Event]:
    yield "content_block_start", {"index": place, "content_block": {"type": "text", "text": ""}}
    for mark, piece in paced(say, say.pieces):
        yield (mark, piece) if mark else ("content_block_delta", {"index": place, "delta": {"type": "text_delta", "text": piece}})
    yield "content_block_stop", {"index": place}


def thinking_block(place: int, say: Say) -> Iterator[Event]:
    yield "content_block_start", {"index": place, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}
    for mark, piece in paced(say, say.thoughts):
        delta = {"type": "thinking_delta", "thinking": piece}
        yield (mark, piece) if mark else ("content_block_delta", {"index": place, "delta": delta})
    signature = {"type": "signature_delta", "signature": "c2lnbmF0dXJl"}
    yield "content_block_delta", {"index": place, "delta": signature}
    yield "content_block_stop", {"index": place}


def whole(answer: Answer, request: ModelRequest) -> Json:
    content = [{"type": "text", "text": text_of(answer)}]
    return {**envelope(request), "content": content, "stop_reason": "end_turn", "usage": usage(output_tokens(answer))}


def envelope(request: ModelRequest) -> Json:
    return {"id": fresh("msg"), "type": "message", "role": "assistant", "model": request.model, "stop_sequence": None}


def usage(output: int) -> Json:
    cache = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    return {"input_tokens": INPUT_TOKENS, **cache, "output_tokens": output}


def refusal(status: int) -> Json:
    error = {"type": ERRORS.get(status, "api_error"), "message": f"the model of the tests refuses with {status}"}
    return {"type": "error", "error": error, "request_id": "req_of_the_tests"}
