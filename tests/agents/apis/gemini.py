"""Gemini: the model's name and whether to stream stand in the path, not in the body."""

from __future__ import annotations

from typing import Iterator

from scenario import Answer, Ask, Failure, Json, Say

from . import INPUT_TOKENS, Cut, Event, fresh, output_tokens, paced, text_of


STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED", 529: "UNAVAILABLE"}


def read(body: Json) -> Ask:
    ask = Ask("", True)
    for group in body.get("tools") or []:
        for tool in group.get("functionDeclarations") or []:
            ask.tools[tool["name"]] = tool.get("parametersJsonSchema") or tool.get("parameters") or {}
    for content in body.get("contents") or []:
        if content.get("role") == "model":
            continue
        for part in content.get("parts") or []:
            if "functionResponse" in part:
                ask.heard_result()
            elif "text" in part:
                ask.heard_user(part["text"])
    return ask


def stream(answer: Answer, ask: Ask) -> Iterator[Event]:
    if isinstance(answer, Failure):
        yield None, chunk(answer, ask, {"text": "Half of"})
        if answer.kind == "drop":
            raise Cut
        yield None, refusal(500)
        return
    if isinstance(answer, Say):
        for thought, pieces in ((True, answer.thoughts), (False, answer.pieces)):
            for mark, piece in paced(answer, pieces):
                part = {"text": piece, "thought": True} if thought else {"text": piece}
                yield (mark, piece) if mark else (None, chunk(answer, ask, part))
        yield None, chunk(answer, ask, {"text": ""}, "STOP")
    else:
        if answer.preface:
            yield None, chunk(answer, ask, {"text": answer.preface})
        wish = {"id": fresh("call"), "name": answer.name, "args": answer.input}
        yield None, chunk(answer, ask, {"functionCall": wish}, "STOP")


def whole(answer: Answer, ask: Ask) -> Json:
    return chunk(answer, ask, {"text": text_of(answer)}, "STOP")


def chunk(answer: Answer, ask: Ask, part: Json, finish: str = "") -> Json:
    candidate: Json = {"index": 0, "content": {"role": "model", "parts": [part]}}
    if finish:
        candidate["finishReason"] = finish
    spoken = output_tokens(answer)
    usage = {"promptTokenCount": INPUT_TOKENS, "candidatesTokenCount": spoken, "totalTokenCount": INPUT_TOKENS + spoken}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": ask.model}


def refusal(status: int) -> Json:
    return {"error": {"code": status, "message": f"the model of the tests refuses with {status}", "status": STATUSES.get(status, "INTERNAL")}}
