"""Values as JSON and back: the one form in which stores, inputs and the record of a run write them.

Writing is general (any frozen dataclass), reading is strict: what a file holds was written by another hand or another
version, so an unknown key is an error and never dropped. All errors are ValueError, `place: what is wrong. What would
be right.`, for the caller to put its file in front of.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from typing import Any, cast

from vllm_flow.core.errors import listed
from vllm_flow.core.json_checks import (
    ALONG,
    along_from_json,
    brief,
    check_keys,
    ids_from_json,
    list_from_json,
    numbers_from_json,
    text_from_json,
    whole_from_json,
)
from vllm_flow.core.likelihood_json import in_columns, likelihoods_from_json, scored_to_json
from vllm_flow.core.likelihoods import Scored
from vllm_flow.core.media import Medium
from vllm_flow.core.media_json import medium_to_json
from vllm_flow.core.message_json import message_from_json, message_to_json
from vllm_flow.core.messages import Message
from vllm_flow.core.shape import Parsed
from vllm_flow.core.transcript_json import transcript_to_json
from vllm_flow.core.transcripts import Transcript
from vllm_flow.core.values import Completion, FinishReason, Turn, Usage

FINISH_REASONS = typing.get_args(FinishReason)
RARE = ("likelihoods", "text_ends", "parsed", "steps")
"""Of a completion, what is not written when there is none."""


def encode(value: object) -> str:
    """`to_json` as one line of ASCII. Raises ValueError for what JSON cannot hold.

    ASCII, because a text may hold half a surrogate pair, which UTF-8 cannot write and `\\ud83d` can.
    """
    return json.dumps(to_json(value), separators=(",", ":"))


def to_json(value: object) -> Any:
    """Plain values of a frozen dataclass: tuples become lists, mappings dicts. ValueError for what JSON cannot hold."""
    try:
        return _plain(value, ())
    except RecursionError:
        raise ValueError("the value: nested too deeply to be written. Make it flatter.") from None


def _plain(value: object, path: tuple[str, ...]) -> Any:
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _cannot(path, f"{value} is no JSON number. Use a finite one or None.")
        return value
    if isinstance(value, Message):
        return _plain(message_to_json(value), path)
    if isinstance(value, Completion):
        return _completion(value, path)
    if isinstance(value, Turn):
        return _turn(value, path)
    if isinstance(value, Transcript):
        return transcript_to_json(value)
    if isinstance(value, Scored):
        return _plain(scored_to_json(value), path)
    if isinstance(value, list | tuple):
        pairs = enumerate(value)  # token ids come in thousands: what needs no look is taken as it is
        return [item if type(item) in (int, str) else _plain(item, (*path, str(place))) for place, item in pairs]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise _cannot(path, f"the key {key!r} is no text. JSON has texts as keys only.")
        return {key: _plain(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, Medium):
        return medium_to_json(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value, path)
    raise _cannot(path, f"{type(value).__name__} cannot be written as JSON. Use texts, numbers, lists and mappings.")


def _fields(value: Any, path: tuple[str, ...]) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(value)]
    return {name: _plain(getattr(value, name), (*path, name)) for name in names}


def _completion(value: Completion, path: tuple[str, ...]) -> dict[str, Any]:
    """Without what only some answers have."""
    found = _fields(dataclasses.replace(value, likelihoods=None), path)
    found = {name: one for name, one in found.items() if one is not None or name not in RARE}
    if not value.steps:
        del found["steps"]
    if value.likelihoods is None:
        return found
    return {**found, "likelihoods": _plain(in_columns(value.likelihoods), (*path, "likelihoods"))}


def _turn(value: Turn, path: tuple[str, ...]) -> dict[str, Any]:
    """Without what only some turns have."""
    absent = {name for name in ("reference", "feedback", "progress") if getattr(value, name) is None}
    absent |= {name for name in ("tenant", "remember") if not getattr(value, name)}
    return {name: item for name, item in _fields(value, path).items() if name not in absent}


def _cannot(path: tuple[str, ...], problem: str) -> ValueError:
    return ValueError(f"{'.'.join(path) or 'the value'}: {problem}")


def turn_from_json(data: Any, where: str = "turn") -> Turn:
    """A turn, from what `to_json` made of one. Raises ValueError."""
    optional = ("history", "number", "sample", "index", "reference", "tenant", *ALONG)
    check_keys(data, where, ("conversation", "message"), optional)
    number = data.get("number")
    return Turn(
        text_from_json(data["conversation"], f"{where}.conversation"),
        message_from_json(data["message"], f"{where}.message"),
        _messages(data.get("history", []), f"{where}.history"),
        None if number is None else whole_from_json(number, f"{where}.number", low=1),
        whole_from_json(data.get("sample", 0), f"{where}.sample"),
        whole_from_json(data.get("index", 0), f"{where}.index"),
        data.get("reference"),
        text_from_json(data.get("tenant", ""), f"{where}.tenant"),
        **along_from_json(data, where),
    )


def completion_from_json(data: Any, where: str = "completion") -> Completion:
    """A completion, from what `to_json` made of one. Raises ValueError."""
    check_keys(data, where, ("text", "token_ids", "finish_reason", "usage"), ("logprobs", *RARE))
    reason, usage = data["finish_reason"], data["usage"]
    if reason not in FINISH_REASONS:
        raise ValueError(f"{where}.finish_reason: {brief(reason)} is none. There are: {listed(FINISH_REASONS)}.")
    check_keys(usage, f"{where}.usage", ("prompt_tokens", "completion_tokens"))
    logprobs, likelihoods, ends = data.get("logprobs"), data.get("likelihoods"), data.get("text_ends")
    token_ids = ids_from_json(data["token_ids"], f"{where}.token_ids")
    return Completion(
        text_from_json(data["text"], f"{where}.text"),
        token_ids,
        cast(FinishReason, reason),
        Usage(**{name: _count(count, f"{where}.usage.{name}") for name, count in usage.items()}),
        None if logprobs is None else numbers_from_json(logprobs, f"{where}.logprobs"),
        None if likelihoods is None else likelihoods_from_json(likelihoods, f"{where}.likelihoods", len(token_ids)),
        None if ends is None else ids_from_json(ends, f"{where}.text_ends"),
        _parsed(data.get("parsed"), f"{where}.parsed"),
        _messages(data.get("steps", []), f"{where}.steps"),
    )


def _messages(data: Any, where: str) -> tuple[Message, ...]:
    return tuple(message_from_json(item, f"{where}.{place}") for place, item in enumerate(list_from_json(data, where)))


def _parsed(data: Any, where: str) -> Parsed | None:
    if data is None:
        return None
    check_keys(data, where, ("value", "problem"))
    problem = data["problem"]
    return Parsed(data["value"], None if problem is None else text_from_json(problem, f"{where}.problem"))


def _count(data: Any, where: str) -> int | None:
    return None if data is None else whole_from_json(data, where)
