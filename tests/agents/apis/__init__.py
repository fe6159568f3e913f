"""The streaming APIs that agents speak to a model. One file each, all of one shape:

    read(body)                the request as a `ModelRequest`
    stream(answer, request)   the events of a streamed answer, as (event name or None, data)
    whole(answer, request)    an answer that is not streamed
    refusal(status)           the body of an HTTP error

A stream that is to break off raises `Cut`. A pause is an event of its own: `PAUSE`, with its length in seconds. So is the wait for the
gate: `GATE`.
"""

from __future__ import annotations

import itertools
from typing import Any, Iterator, Optional

from scenario import Answer, Json, Say

Event = tuple[Optional[str], Any]

PAUSE = "(pause)"
GATE = "(gate)"

INPUT_TOKENS = 1000

ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
"""The name of an HTTP status in an error's body, by which agents decide whether to retry."""

_numbers = itertools.count(1)


class Cut(Exception):
    """The connection is to be cut here."""


def fresh(prefix: str) -> str:
    return f"{prefix}_{next(_numbers):06d}"


def output_tokens(answer: Answer) -> int:
    return len(answer.pieces) if isinstance(answer, Say) else 12


def text_of(answer: Answer) -> str:
    return "".join(answer.pieces) if isinstance(answer, Say) else "ok"


def paced(say: Say, pieces: list[str]) -> Iterator[Event]:
    """The pieces as (None, piece), with the pauses between them."""
    for n, piece in enumerate(pieces):
        if say.gated and pieces is say.pieces and n == len(pieces) // 2:
            yield GATE, None
        yield None, piece
        if say.pause:
            yield PAUSE, say.pause
