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
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, cast

from vllm_flow.core.errors import listed, nearest
from vllm_flow.core.values import Completion, FinishReason, Message, Role, Text, Turn, Usage

ROLES = typing.get_args(Role)
FINISH_REASONS = typing.get_args(FinishReason)
LARGEST = 2**63 - 1  # what a database and most JSON readers hold as a whole number


def encode(value: object) -> str:
    """`to_json` as one line of ASCII. Raises ValueError for what JSON cannot hold.

    ASCII, because a text may hold half a surrogate pair, which UTF-8 cannot write and `\\ud83d` can.
    """
    return json.dumps(to_json(value), separators=(",", ":"))


def decode(text: str) -> Any:
    """JSON text as plain values. Raises ValueError for anything RFC 8259 calls unsafe: NaN, a key given twice."""
    try:
        return json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_constant, parse_float=_float)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON, at character {error.pos + 1}: {error.msg}. Write one JSON value.") from None
    except RecursionError:
        raise ValueError("nested too deeply to be read. Write it flatter.") from None
    except ValueError as error:
        if "integer string conversion" not in str(error):
            raise
        raise ValueError("a whole number of thousands of digits. Write a smaller one.") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {_shown(name)} is given twice. Keep one of them.")
        found[name] = value
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON. Write a finite number or null.")


def _float(digits: str) -> float:
    if math.isinf(value := float(digits)):
        raise ValueError(f"{_shown(digits)[1:-1]} is too large a number. Write a smaller one.")
    return value


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
    if isinstance(value, Message) and len(value.parts) == 1:
        return {"role": value.role, "content": value.parts[0].text}
    if isinstance(value, list | tuple):
        pairs = enumerate(value)  # token ids come in thousands: what needs no look is taken as it is
        return [item if type(item) in (int, str) else _plain(item, (*path, str(place))) for place, item in pairs]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise _cannot(path, f"the key {key!r} is no text. JSON has texts as keys only.")
        return {key: _plain(item, (*path, key)) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: _plain(getattr(value, name), (*path, name)) for name in names}
    raise _cannot(path, f"{type(value).__name__} cannot be written as JSON. Use texts, numbers, lists and mappings.")


def _cannot(path: tuple[str, ...], problem: str) -> ValueError:
    return ValueError(f"{'.'.join(path) or 'the value'}: {problem}")


def message_from_json(data: Any, where: str = "message") -> Message:
    """A message: `{"role", "content": text or list of parts}` or `{"role", "parts": […]}`. Raises ValueError."""
    check_keys(data, where, required=("role",), optional=("content", "parts"))
    role = data["role"]
    if role not in ROLES:
        raise ValueError(f"{where}.role: {_shown(role)} is no role. Roles: {listed(ROLES)}.")
    if ("content" in data) == ("parts" in data):
        raise ValueError(f"{where}: it has {_how_many(data)} of 'content' and 'parts'. Give one of them.")
    if "parts" in data:
        return Message(role, parts_from_json(data["parts"], f"{where}.parts"))
    content = data["content"]
    if isinstance(content, list):
        return Message(role, parts_from_json(content, f"{where}.content"))
    if not isinstance(content, str):
        raise ValueError(f"{where}.content: {_shown(content)} is neither a text nor a list of parts. Give one of them.")
    return Message(role, (Text(content),))


def parts_from_json(data: Any, where: str = "parts") -> tuple[Text, ...]:
    """Parts: `{"text"}`, or `{"type": "text", "text"}` as chat services write them. Raises ValueError."""
    return tuple(_part(item, f"{where}.{place}") for place, item in enumerate(list_from_json(data, where)))


def _part(data: Any, where: str) -> Text:
    kind = data.get("type", "text") if isinstance(data, dict) else "text"
    if kind != "text":
        raise ValueError(f"{where}: a part of type {_shown(kind)}. Only text parts are read in this version.")
    for medium in ("image", "image_url", "audio", "input_audio", "video"):
        if isinstance(data, dict) and medium in data:
            raise ValueError(f"{where}: a part with '{medium}'. Only text parts are read in this version.")
    check_keys(data, where, required=("text",), optional=("type",))
    return Text(text_from_json(data["text"], f"{where}.text"))


def turn_from_json(data: Any, where: str = "turn") -> Turn:
    """A turn, from what `to_json` made of one. Raises ValueError."""
    check_keys(data, where, ("conversation", "message"), ("history", "number", "sample", "index"))
    history = list_from_json(data.get("history", []), f"{where}.history")
    number = data.get("number")
    return Turn(
        text_from_json(data["conversation"], f"{where}.conversation"),
        message_from_json(data["message"], f"{where}.message"),
        tuple(message_from_json(item, f"{where}.history.{place}") for place, item in enumerate(history)),
        None if number is None else whole_from_json(number, f"{where}.number", low=1),
        whole_from_json(data.get("sample", 0), f"{where}.sample"),
        whole_from_json(data.get("index", 0), f"{where}.index"),
    )


def completion_from_json(data: Any, where: str = "completion") -> Completion:
    """A completion, from what `to_json` made of one. Raises ValueError."""
    check_keys(data, where, ("text", "token_ids", "finish_reason", "usage"), ("logprobs",))
    reason, usage = data["finish_reason"], data["usage"]
    if reason not in FINISH_REASONS:
        raise ValueError(f"{where}.finish_reason: {_shown(reason)} is none. There are: {listed(FINISH_REASONS)}.")
    check_keys(usage, f"{where}.usage", ("prompt_tokens", "completion_tokens"))
    logprobs = data.get("logprobs")
    return Completion(
        text_from_json(data["text"], f"{where}.text"),
        _token_ids(data["token_ids"], f"{where}.token_ids"),
        cast(FinishReason, reason),
        Usage(**{name: _count(count, f"{where}.usage.{name}") for name, count in usage.items()}),
        None if logprobs is None else _numbers(logprobs, f"{where}.logprobs"),
    )


def _count(data: Any, where: str) -> int | None:
    return None if data is None else whole_from_json(data, where)


def whole_from_json(data: Any, where: str, low: int = 0) -> int:
    """A whole number from `low` to 2**63 - 1. Raises ValueError."""
    if type(data) is not int or not low <= data <= LARGEST:
        raise ValueError(f"{where}: {_shown(data)} does not fit. Give a whole number of {low} or more, below 2**63.")
    return data


def _token_ids(data: Any, where: str) -> tuple[int, ...]:
    for place, item in enumerate(list_from_json(data, where)):
        if type(item) is not int or not 0 <= item <= LARGEST:
            whole_from_json(item, f"{where}.{place}")  # says what is wrong
    return tuple(data)


def _numbers(data: Any, where: str) -> tuple[float, ...]:
    for place, item in enumerate(list_from_json(data, where)):
        if type(item) not in (int, float):
            raise ValueError(f"{where}.{place}: {_shown(item)} is no number. Give one.")
    return tuple(float(item) for item in data)


def text_from_json(data: Any, where: str) -> str:
    """A text. Raises ValueError."""
    if not isinstance(data, str):
        raise ValueError(f"{where}: {_shown(data)} is no text. Put it in quotation marks.")
    return data


def list_from_json(data: Any, where: str) -> list[Any]:
    """A list, its items unchecked. Raises ValueError."""
    if not isinstance(data, list):
        raise ValueError(f"{where}: {_shown(data)} is no list. Put it in square brackets.")
    return data


def check_keys(data: Any, where: str, required: Iterable[str], optional: Iterable[str] = ()) -> None:
    """Raises ValueError unless `data` is a mapping with all of `required`, and else only some of `optional`."""
    if not isinstance(data, dict):
        raise ValueError(f"{where}: {_shown(data)} is no mapping. Give one with the keys: {listed(required)}.")
    known = {*required, *optional}
    for key in data:
        if key not in known:
            hint = f"{nearest(str(key), known)} Keys: {listed(known)}."
            raise ValueError(f"{where}: there is no key {_shown(key)}.{hint}")
    for key in required:
        if key not in data:
            raise ValueError(f"{where}: '{key}' is missing. Add it.")


def _how_many(data: Mapping[str, Any]) -> str:
    return "both" if "content" in data else "neither"


def _shown(value: Any) -> str:
    """The value in one short line: a text or number cut at 60 characters, a container by its kind."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)  # YAML knows dates
    return text if len(text) <= 60 else f"{text[:57]}..."
