"""OpenAI chat completions: opencode, and most agents for custom models."""

from __future__ import annotations

import json
from typing import Iterator

from scenario import Answer, ModelRequest, Failure, Json, Say, text_in

from . import ERRORS, INPUT_TOKENS, Cut, Event, fresh, output_tokens, paced, text_of


def read(body: Json) -> ModelRequest:
    functions = [tool["function"] for tool in body.get("tools") or []]
    tools = {function["name"]: function.get("parameters") or {} for function in functions}
    request = ModelRequest(body.get("model", ""), bool(body.get("stream")), tools)
    for message in body.get("messages") or []:
        if message.get("role") == "user":
            request.add_user_text(text_in(message.get("content")))
        elif message.get("role") == "tool":
            request.add_result()
    return request


def stream(answer: Answer, request: ModelRequest) -> Iterator[Event]:
    head: Json = {"id": fresh("chatcmpl"), "object": "chat.completion.chunk", "created": 0, "model": request.model}

    def chunk(delta: Json, **more: object) -> Event:
        finish = more.pop("finish", None)
        return None, {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}

    yield chunk({"role": "assistant", "content": ""})
    if isinstance(answer, Failure):
        yield chunk({"content": "Half of"})
        if answer.kind == "drop":
            raise Cut
        yield None, refusal(500)
        return
    if isinstance(answer, Say):
        for key, pieces in (("reasoning_content", answer.thoughts), ("content", answer.pieces)):
            for mark, piece in paced(answer, pieces):
                yield (mark, piece) if mark else chunk({key: piece})
        finish = "stop"
    else:
        if answer.preface:
            yield chunk({"content": answer.preface})
        input_text = answer.input if isinstance(answer.input, str) else json.dumps(answer.input)
        opened = {"index": 0, "id": fresh("call"), "type": "function", "function": {"name": answer.name, "arguments": ""}}
        yield chunk({"tool_calls": [opened]})
        for part in (input_text[: len(input_text) // 2], input_text[len(input_text) // 2 :]):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
        finish = "tool_calls"
    yield chunk({}, finish=finish, usage=usage(answer))


def whole(answer: Answer, request: ModelRequest) -> Json:
    message = {"role": "assistant", "content": text_of(answer)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    head = {"id": fresh("chatcmpl"), "object": "chat.completion", "created": 0, "model": request.model}
    return {**head, "choices": [choice], "usage": usage(answer)}


def usage(answer: Answer) -> Json:
    output = output_tokens(answer)
    return {"prompt_tokens": INPUT_TOKENS, "completion_tokens": output, "total_tokens": INPUT_TOKENS + output}


def refusal(status: int) -> Json:
    kind = ERRORS.get(status, "server_error")
    return {"error": {"message": f"the model of the tests refuses with {status}", "type": kind, "code": kind}}
