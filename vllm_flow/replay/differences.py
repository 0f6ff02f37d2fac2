"""Differences: where two passes over one turn part, at the first place of the graph and there at the first token.

Values are compared by the digests of calls.jsonl, in the order in which they were made: when a node's value differs and
no earlier one does, its inputs were equal, so the node itself, or what it asked, made the difference.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from vllm_flow.core.calls_kept import shared
from vllm_flow.core.recorded import Row
from vllm_flow.replay.courses import parting

ITEM = re.compile(r"\[\d+\]$")
ANSWER = {"token_ids", "text", "finish_reason"}
AROUND = 40
"""Characters of text that are shown before a difference, and after it."""
TOKENS_AROUND = 8
Spell = Callable[[str, Sequence[int]], str]
"""(resource, token ids) → their text; empty where the engine cannot say."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place at which a turn is another."""

    index: int
    conversation: str
    turn: int
    node: str
    """Empty when the result differs and no node does."""
    what: str
    token: int | None = None
    """From 0, in what `what` says."""
    recorded: str = ""
    now: str = ""
    """Text around the place in both."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A turn as one pass over the graph left it: its row of results, and what it asked, if that is known."""

    result: Row
    calls: Row | None


def difference(then: Pass, now: Pass, spell: Spell | None = None) -> Difference | None:
    """Where the second pass parts from the first; None when all is equal."""
    return next(_Passes(then, now, spell).differences(), None)


class _Passes:
    """Two passes over one turn."""

    def __init__(self, then: Pass, now: Pass, spell: Spell | None) -> None:
        self._then, self._now, self._spell = then, now, spell

    def differences(self) -> Iterator[Difference]:
        """The first is the one that counts: what follows may come of it."""
        if self._then.calls is not None and self._now.calls is not None:
            then, now = self._then.calls, self._now.calls
            for node in _nodes(then, now):
                yield from self._in_calls(node, then, now)
                yield from self._in_value(node, then, now)
        yield from self._in_result(self._then.result, self._now.result)

    def _at(self, node: str, what: str, texts: tuple[str, str] = ("", ""), token: int | None = None) -> Difference:
        row = self._then.result
        return Difference(row["index"], row["conversation"], row["turn"], node, what, token, *texts)

    def _in_calls(self, node: str, then: Row, now: Row) -> Iterator[Difference]:
        for (resource, method), (old, new) in _asked(node, then, now).items():
            if len(old) != len(new):
                yield self._at(node, f"it asked {resource} for {method} {len(new)} times, and {len(old)} times then")
            for one, other in zip(old, new, strict=False):
                yield from self._in_call(one, other) if method == "generate" else self._in_answer(one, other)

    def _in_answer(self, then: Row, now: Row) -> Iterator[Difference]:
        if then["value"] != now["value"]:
            what = f"{then['resource']} gave {then['method']} another answer"
            yield self._at(then["node"], what, (_short(then["value"]), _short(now["value"])))

    def _in_call(self, then: Row, now: Row) -> Iterator[Difference]:
        node = then["node"]
        if found := self._in_prompt(then, now):
            yield replace(found, what=f"its inputs are equal, and {found.what}")
        for old, new in zip(then["sampling"], now["sampling"], strict=False):
            if old != new:
                texts = _short(old[1]), _short(new[1])
                yield self._at(node, f"other sampling parameters are in force from token {new[0]} on", texts, new[0])
        if then["seed"] != now["seed"]:
            yield self._at(node, f"the seed is {now['seed']}, and was {then['seed']}")
        yield from self._in_course(node, then, now)
        if then["completion"] is not None and now["completion"] is not None:
            yield from self._in_completion(node, then["completion"], now["completion"])

    def _in_course(self, node: str, then: Row, now: Row) -> Iterator[Difference]:
        """The first token for which a parameter had another value, unless the tokens before it were others already."""
        found = parting(then, now)
        if found and found.token <= _same_tokens(then["completion"], now["completion"]):
            what = f"sampling.{found.parameter} is {found.second} at token {found.token}, and was {found.first}"
            yield self._at(node, what, found.signals, found.token)

    def _in_prompt(self, then: Row, now: Row) -> Difference | None:
        node = then["node"]
        if "prompt_ids" in then and "prompt_ids" in now:
            old, new = then["prompt_ids"], now["prompt_ids"]
            at = shared(old, new)
            what = f"token {at} of the prompt of {node} is {_id(new, at)}, and was {_id(old, at)}"
            texts = self._spelled(then["resource"], old, at), self._spelled(then["resource"], new, at)
            return self._at(node, what, texts, at) if old != new else None
        pairs = zip_longest(then.get("messages", ()), now.get("messages", ()))
        other = next((pair for pair in pairs if pair[0] != pair[1]), None)
        if other is None or ("messages" in then) != ("messages" in now):
            return None
        return self._at(node, f"the prompt of {node} has another message", around(*map(_short, other)))

    def _spelled(self, resource: str, ids: Sequence[int], at: int) -> str:
        span = ids[max(0, at - TOKENS_AROUND) : at + TOKENS_AROUND]
        text = self._spell(resource, span) if self._spell else ""
        return text or " ".join(map(str, span))

    def _in_completion(self, node: str, then: Row, now: Row) -> Iterator[Difference]:
        old, new = then["token_ids"], now["token_ids"]
        texts = around(then["text"], now["text"])
        if old != new:
            at = shared(old, new)
            yield self._at(node, f"token {at} is {_id(new, at)}, and was {_id(old, at)}", texts, at)
        elif then["text"] != now["text"]:
            yield self._at(node, "its text is another, of the same tokens" if old else "its text is another", texts)
        elif then["finish_reason"] != now["finish_reason"]:
            what = f"it ends with '{now['finish_reason']}', and ended with '{then['finish_reason']}'"
            yield self._at(node, what)

    def _in_value(self, node: str, then: Row, now: Row) -> Iterator[Difference]:
        values = then["values"], now["values"]
        if (node in values[0]) != (node in values[1]):
            yield self._at(node, "there is no value now" if node in values[0] else "there was no value then")
        elif values[0].get(node) != values[1].get(node):
            pairs = zip(_generating(then), _generating(now), strict=False)
            seen = next((found for one, other in pairs if (found := self._in_prompt(one, other))), None)
            what = "its inputs are equal, and its value is another"
            yield replace(seen, node=node, what=f"{what}: {seen.what}") if seen else self._at(node, what)

    def _in_result(self, then: Row, now: Row) -> Iterator[Difference]:
        if then["failure"] != now["failure"]:
            texts = [one["failure"]["message"] if one["failure"] else "(an answer)" for one in (then, now)]
            node = (then["failure"] or now["failure"])["node"]
            yield self._at(node, "it does not end as it did", (texts[0], texts[1]))
        old, new = then["value"], now["value"]
        if old == new:
            return
        if isinstance(old, dict) and isinstance(new, dict) and old.keys() & new.keys() >= ANSWER:
            yield from self._in_completion("", old, new)  # of format 1 nothing else is known
        yield self._at("", "the result is another", around(_short(old), _short(new)))


def _nodes(*calls: Row) -> list[str]:
    """In the order in which their values were made; what was asked for a value stands before it."""
    names: dict[str, None] = {}
    for one in calls:
        names |= dict.fromkeys([*one["values"], *(_owner(call["node"]) for call in one["calls"])])
    return list(names)


def _owner(node: str) -> str:
    """The value that one of several runs of a stage, `each` of them, belongs to."""
    return ITEM.sub("", node)


def _asked(node: str, then: Row, now: Row) -> Mapping[tuple[str, str], tuple[list[Row], list[Row]]]:
    """What both asked of each resource. Several requests at once end in any order: the sample tells them apart."""
    found: defaultdict[tuple[str, str], tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
    for place, row in enumerate((then, now)):
        for call in sorted(row["calls"], key=lambda call: (call["node"], call.get("sample", 0))):
            if _owner(call["node"]) == node:
                found[call["resource"], call["method"]][place].append(call)
    return found


def _generating(calls: Row) -> list[Row]:
    found = [call for call in calls["calls"] if call["method"] == "generate"]
    return sorted(found, key=lambda call: (call["node"], call["sample"]))


def around(then: str, now: str) -> tuple[str, str]:
    """Both texts where they part, with a little before."""
    start = max(0, shared(then, now) - AROUND)
    span, before = slice(start, start + 2 * AROUND), "…" if start else ""
    return before + then[span], before + now[span]


def _same_tokens(then: Row | None, now: Row | None) -> float:
    """How many of the first tokens are the same; infinity where none differs."""
    old, new = (one["token_ids"] if one else () for one in (then, now))
    return shared(old, new) if old != new else math.inf


def _id(ids: Sequence[int], at: int) -> str:
    return str(ids[at]) if at < len(ids) else "none, for it ends there"


def _short(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("content"), str):
        return f"{value.get('role')}: {value['content']}"
    return value if isinstance(value, str) else str(value)
