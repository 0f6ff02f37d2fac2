"""Rows of calls as they are kept: no token is written twice that a row before, or the result, has already.

The prompts of a conversation repeat each other, so a row holds what is new since the same node's prompt before; and an
answer that is the turn's output stands in `results.jsonl` anyway.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from vllm_flow.core.results import Result
from vllm_flow.core.values import Completion

Row = dict[str, Any]
CONVERSATIONS = 1024
"""Of so many conversations and nodes the newest prompt is remembered; others are written in full again."""
OUTPUT = "output"


class Shortening:
    """Makes rows shorter, in the order in which they are written."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str], tuple[int, ...]] = OrderedDict()

    def __call__(self, row: Row, result: Result | None) -> Row:
        return {**row, "calls": [self._short(call, row["conversation"], result) for call in row["calls"]]}

    def _short(self, call: Row, conversation: str, result: Result | None) -> Row:
        ids = call.get("prompt_ids")
        if ids is not None:
            key = (conversation, call["node"])
            last = self._last.pop(key, ())
            self._last[key] = ids
            if len(self._last) > CONVERSATIONS:
                self._last.popitem(last=False)
            same = shared(last, ids)
            call = {**call, "prompt_ids": ids[same:], "prompt_shared": same}
        if result is not None and isinstance(result.value, Completion) and _is(result.value, call.get("completion")):
            call = {**call, "completion": OUTPUT}
        return call


def _is(value: Completion, said: Any) -> bool:
    return (
        said is not None
        and value.token_ids == said["token_ids"]
        and value.text == said["text"]
        and value.finish_reason == said["finish_reason"]
    )


def shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    """With how many items both begin. By halves: a slice is compared much faster than its items one by one."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class Lengthening:
    """Makes rows whole again, read in the order in which they were written."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], list[int]] = {}

    def __call__(self, row: Row, value: Mapping[str, Any] | None) -> Row:
        """`value` is that of the turn's result; without one, an answer that stood there is lost, and None.

        Raises KeyError, TypeError and ValueError for what is no such row.
        """
        return {**row, "calls": [self._whole(call, row["conversation"], value) for call in row["calls"]]}

    def _whole(self, call: Row, conversation: str, value: Mapping[str, Any] | None) -> Row:
        if "prompt_shared" in call:
            key = (conversation, call["node"])
            last, same = self._last.get(key, []), call["prompt_shared"]
            if same > len(last):
                raise ValueError("a prompt goes on from one that is not there")
            ids = [*last[:same], *call["prompt_ids"]]
            self._last[key] = ids
            call = {name: item for name, item in call.items() if name != "prompt_shared"} | {"prompt_ids": ids}
        if call.get("completion") == OUTPUT:
            kept = ("text", "token_ids", "finish_reason", "usage")
            call = {**call, "completion": None if value is None else {name: value[name] for name in kept}}
        return call
