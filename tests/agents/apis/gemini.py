"""Gemini: the model's name and whether to stream are in the path, not in the body."""

from __future__ import annotations

from typing import Iterator

from scenario import Answer, ModelRequest, Failure, Json, Say

from . import INPUT_TOKENS, Cut, Event, fresh, output_tokens, paced, text_of


STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED", 529: "UNAVAILABLE"}


def read(body: Json) -> ModelRequest:
    request = ModelRequest("", True)
    for group in body.get("tools") or []:
        for tool in group.get("functionDeclarations") or []:
            request.tools[tool["name"]] = tool.get("parametersJsonSchema") or tool.get("parameters") or {}
    for content in body.get("contents") or []:
        if content.get("role") == "model":
            continue
        for part in content.get("parts") or []:
            if "functionResponse" in part:
                request.add_result()
            elif "text" in part:
                request.add_user_text(part["text"])
    return request


def stream(answer: Answer, request: ModelRequest) -> Iterator[Event]:
    if isinstance(answer, Failure):
        yield None, chunk(answer, request, {"text": "Half of"})
        if answer.kind == "drop":
            raise Cut
        yield None, refusal(500)
        return
    if isinstance(answer, Say):
        for thought, pieces in ((True, answer.thoughts), (False, answer.pieces)):
            for mark, piece in paced(answer, pieces):
                part = {"text": piece, "thought": True} if thought else {"text": piece}
                yield (mark, piece) if mark else (None, chunk(answer, request, part))
        yield None, chunk(answer, request, {"text": ""}, "STOP")
    else:
        if answer.preface:
            yield None, chunk(answer, request, {"text": answer.preface})
        tool_call = {"id": fresh("call"), "name": answer.name, "args": answer.input}
        yield None, chunk(answer, request, {"functionCall": tool_call}, "STOP")


def whole(answer: Answer, request: ModelRequest) -> Json:
    return chunk(answer, request, {"text": text_of(answer)}, "STOP")


def chunk(answer: Answer, request: ModelRequest, part: Json, finish: str = "") -> Json:
    candidate: Json = {"index": 0, "content": {"role": "model", "parts": [part]}}
    if finish:
        candidate["finishReason"] = finish
    spoken = output_tokens(answer)
    usage = {"promptTokenCount": INPUT_TOKENS, "candidatesTokenCount": spoken, "totalTokenCount": INPUT_TOKENS + spoken}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": request.model}


def refusal(status: int) -> Json:
    return {"error": {"code": status, "message": f"the model of the tests refuses with {status}", "status": STATUSES.get(status, "INTERNAL")}}
