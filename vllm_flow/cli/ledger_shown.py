"""A ledger as lines for a person: what a prompt was made of, what it cost, and what is not in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vllm_flow.core.ledger import TEMPLATE, Entry, Ledger
from vllm_flow.core.segments import LeftOut


def ledger_lines(ledger: Ledger) -> Iterator[str]:
    """A table, each segment a line, and below it the sum and what was left out."""
    rows = [(one.segment, _number(one.tokens), _items(one), ", ".join(_found(one))) for one in ledger.entries]
    over = max(0, (ledger.tokens or 0) - (ledger.budget or 0))
    budget = "" if ledger.budget is None else f"of {ledger.budget}{f': {over} too many' if over else ''}"
    rows = [("segment", "tokens", "items", ""), *rows, ("prompt", _number(ledger.tokens), "", budget)]
    first, second, third = (max(len(row[column]) for row in rows) for column in range(3))
    for name, tokens, items, sources in rows:
        yield f"{name:<{first}}  {tokens:>{second}}  {items:>{third}}  {sources}".rstrip()
    for one in ledger.left_out:
        tokens = f", {one.tokens} tokens" if one.tokens and one.what != "tokens" else ""
        yield f"left out: {_what(one)}{tokens}: {one.why}"


def _found(entry: Entry) -> tuple[str, ...]:
    if len(entry.scores) != len(entry.sources):
        return entry.sources
    return tuple(f"{source} ({score:g})" for source, score in zip(entry.sources, entry.scores, strict=True))


def left_out_lines(left_out: Iterable[LeftOut]) -> Iterator[str]:
    for one in left_out:
        verb = "was" if one.count == 1 else "were"
        yield f"({_what(one)} {verb} left out of this prompt: {one.why})"


def _what(one: LeftOut) -> str:
    """`3 messages of history`."""
    return f"{one.count} {one.what.removesuffix('s') if one.count == 1 else one.what} of {one.segment}"


def _items(one: Entry) -> str:
    return "" if one.segment == TEMPLATE else str(one.items)


def _number(tokens: int | None) -> str:
    return "?" if tokens is None else str(tokens)
