"""Sealed templates: a chat template that says the same, but with seals where it writes control tokens itself.

Only what it writes is sealed. What it looks for in messages (`'</think>' in content`, `content.split('</think>')`)
stays as it is, for there it is the messages that say it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

Lexed = tuple[int, str, str]
"""Line, kind and source of one of the template's tokens."""
BLANK = ("whitespace", "comment", "comment_begin", "comment_end", "linecomment")
KEYWORDS = ("in", "and", "or", "not", "if", "elif", "else", "is", "set", "for", "print")
"""What stands before a parenthesis that calls nothing."""


def sealed_template(source: str, seal: Callable[[str], str]) -> str:
    from jinja2 import Environment

    tokens: list[Any] = list(Environment(keep_trailing_newline=True).lex(source))  # noqa: S701  # renders nothing
    looked_for = set(_looked_for(tokens))
    return "".join(
        seal(text) if kind == "data" or (kind == "string" and place not in looked_for) else text
        for place, (_, kind, text) in enumerate(tokens)
    )


def _looked_for(tokens: Sequence[Lexed]) -> Iterator[int]:
    """The strings that are compared with something, or given to a function."""
    meant = [(place, kind, text) for place, (_, kind, text) in enumerate(tokens) if kind not in BLANK]
    open_ = list[bool]()
    for at, (place, kind, text) in enumerate(meant):
        before = meant[at - 1][1:] if at else ("", "")
        behind = [one[2] for one in meant[at + 1 : at + 3]]
        if kind == "operator" and text in "([{":
            calls = text == "(" and (before[0] == "name" or before[1] in (")", "]")) and before[1] not in KEYWORDS
            open_.append(calls)
        elif kind == "operator" and text in ")]}" and open_:
            open_.pop()
        elif kind == "string":
            compared = before[1] in ("==", "!=", "in") or behind[:1] in (["=="], ["!="], ["in"])
            if compared or behind == ["not", "in"] or any(open_):
                yield place
