"""Repeats: each turn several times, as independent samples, so that chance can be told from effect.

A conversation is repeated as a whole, as one of its own: its second turn follows its own first answer. A conversation
that is called like a repeat of another, `c1#2`, would be taken for that, and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from vllm_flow.core.flow import Item
from vllm_flow.core.values import BadRow

REPEAT = re.compile(r"#\d+$")


def repeated(items: Iterable[Item], times: int) -> Iterator[Item]:
    """Sample 0 of each turn is the turn itself, but for its index; sample 2 of `c1` belongs to conversation `c1#2`.

    A row that cannot be read stands once. Indices stay unique and in the order of the input.
    """
    for item in items:
        index = item.index * times
        if isinstance(item, BadRow):
            yield replace(item, index=index)
            continue
        if times > 1 and REPEAT.search(item.conversation):
            problem = f"with repeats the conversation '{item.conversation}' would be one of them. Name it without '#'"
            yield BadRow(index, item.conversation, f"{problem}, or run it without sweep.repeat.")
            continue
        for sample in range(times):
            name = f"{item.conversation}#{sample}" if sample else item.conversation
            yield replace(item, conversation=name, sample=item.sample + sample, index=index + sample)
