"""The prefix cache: keys and values of prompts that were read before, for prompts that begin alike.

A tree. Each node holds what one piece of a prompt added, and hangs below the piece before it, so that equal beginnings
are found token by token and never by a hash. Pieces end at the same places in every prompt; only the last one of a
prompt may be shorter, and it knows the logits that follow, so that an equal prompt is not read again at all.

Each owner, a tenant with an adapter, has a tree of its own, and all of them together one bound.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from torch import Tensor

Keys = tuple[Hashable, ...]
"""Tokens by their ids; one that a medium fills by that medium, whose digest is of its content."""


@dataclass(eq=False, slots=True, weakref_slot=True)
class Node:
    """One piece of a prompt, after all those above it."""

    parent: Node | None = None
    """None for the root of a tree."""
    tokens: Keys = ()
    pieces: list[Tensor] = field(default_factory=list)
    """Keys and values, as `Sequence.copied` gives them."""
    logits: Tensor | None = None
    """float32 [vocab], of the token that follows; None unless a prompt ended here."""
    children: dict[Keys, Node] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        logits = self.logits.nbytes if self.logits is not None else 0
        return sum(piece.nbytes for piece in self.pieces) + logits


class PrefixCache:
    """Bounded by `limit` bytes; the least recently used pieces go first, those that end a branch before the others."""

    def __init__(self, limit: int) -> None:
        self._roots = WeakValueDictionary[Hashable, Node]()
        """An owner's tree is there as long as something hangs in it, or a row is about to."""
        self.bytes = 0
        self._limit = limit
        self._used: OrderedDict[Node, None] = OrderedDict()

    def root(self, owner: Hashable) -> Node:
        """Where the prompts of an owner begin."""
        return self._roots.setdefault(owner, Node())

    def find(self, after: Node, tokens: Keys, *, logits: bool) -> Node | None:
        """The node of these tokens behind `after`; with `logits` only one that knows what follows."""
        found = after.children.get(tokens)
        if found is None or (logits and found.logits is None):
            return None
        self._touch(found)
        return found

    def alike(self, after: Node, tokens: Keys) -> int:
        """With how many of these tokens one of the pieces behind `after` begins, the most there are."""
        count = 0
        for piece in after.children:
            if piece[:count] == tokens[:count]:
                longest = min(len(piece), len(tokens))
                while count < longest and piece[count] == tokens[count]:
                    count += 1
        return count

    def add(self, after: Node, tokens: Keys, pieces: list[Tensor], logits: Tensor | None) -> Node:
        """Keep what was read behind `after`. The node is returned also when it was there already, or has no room."""
        node = after.children.get(tokens)
        if node is None:
            if after.parent is not None and after not in self._used:
                return Node(after, tokens)  # what it stands behind has been forgotten: nobody would find it
            node = Node(after, tokens, pieces)
            after.children[tokens] = node
            self.bytes += node.bytes
        if logits is not None and node.logits is None:
            node.logits = logits
            self.bytes += logits.nbytes
        self._touch(node)
        while self.bytes > self._limit and self._used:
            self._forget(next(iter(self._used)))
        return node

    def _touch(self, node: Node | None) -> None:
        """From below upwards, so that a node is always used later than what hangs below it."""
        while node is not None and node.parent is not None:
            self._used[node] = None
            self._used.move_to_end(node)
            node = node.parent

    def _forget(self, node: Node) -> None:
        del self._used[node]
        self.bytes -= node.bytes
        node.pieces, node.logits = [], None  # rows that came by it still hold it
        if node.parent is not None:
            del node.parent.children[node.tokens]
