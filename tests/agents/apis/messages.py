"""Anthropic messages: Claude Code and what is built on it."""

from __future__ import annotations

import itertools
import json
from typing import Iterator

from scenario import Answer, Ask, Failure, Json, Say

from . import ERRORS, INPUT_TOKENS, Cut, Event, fresh, output_tokens, paced, text_of


def read(body: Json) -> Ask:
    tools = {tool["name"]: tool.get("input_schema") or {} for tool in body.get("tools") or []}
    ask = Ask(body.get("model", ""), bool(body.get("stream")), tools)
    for message in body.get("messages") or []:
        if message.get("role") != "user":
            continue
        content = message.get("content") or []
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if block.get("type") == "tool_result":
                ask.heard_result()
            elif block.get("type") == "text":
                ask.heard_user(block.get("text") or "")
    return ask


def stream(answer: Answer, ask: Ask) -> Iterator[Event]:
    for name, data in events(answer, ask):
        yield name, {"type": name, **data} if isinstance(data, dict) else data


def events(answer: Answer, ask: Ask) -> Iterator[Event]:
    yield "message_start", {"message": {**envelope(ask), "content": [], "stop_reason": None, "usage": usage(1)}}
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
        given = json.dumps(answer.input)
        for part in (given[: len(given) // 2], given[len(given) // 2 :]):
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


def whole(answer: Answer, ask: Ask) -> Json:
    content = [{"type": "text", "text": text_of(answer)}]
    return {**envelope(ask), "content": content, "stop_reason": "end_turn", "usage": usage(output_tokens(answer))}


def envelope(ask: Ask) -> Json:
    return {"id": fresh("msg"), "type": "message", "role": "assistant", "model": ask.model, "stop_sequence": None}


def usage(spoken: int) -> Json:
    cache = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    return {"input_tokens": INPUT_TOKENS, **cache, "output_tokens": spoken}


def refusal(status: int) -> Json:
    error = {"type": ERRORS.get(status, "api_error"), "message": f"the model of the tests refuses with {status}"}
    return {"type": "error", "error": error, "request_id": "req_of_the_tests"}
