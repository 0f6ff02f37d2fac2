"""Decoding: the answers in the making, of which those that have said the same so far are read once.

The points of a sweep share prompts and random numbers, so many of their answers begin alike. Such rows have one
sequence in the KV cache until they part. Each draws for itself, from the logits that it would have been given anyway.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from vllm_flow.engines.transformers.loaded import Forks, Reads, Span
from vllm_flow.engines.transformers.row import Reading, Row
from vllm_flow.engines.transformers.slots import Sequence


class Decoding:
    """Rows that have their first token, by the sequence they are read in."""

    def __init__(self, network: Reads) -> None:
        self._network = network
        self._forks = network if isinstance(network, Forks) else None
        self._alike: dict[Sequence, list[Row]] = {}
        self._new: dict[Hashable, Sequence] = {}
        """Those of this step, by what was said and their newest token."""

    def __iter__(self) -> Iterator[Row]:
        return (row for rows in self._alike.values() for row in rows)

    def __len__(self) -> int:
        return sum(map(len, self._alike.values()))

    def __contains__(self, row: Reading) -> bool:
        return row in self._alike.get(row.sequence, ())

    def alike(self, row: Reading) -> list[Reading]:
        """The rows that are read with it, itself among them."""
        return [*self._alike.get(row.sequence, (row,))]

    def begin(self, row: Row) -> None:
        """Its first token is drawn. No tenant's answer is read with another's: how long it takes would tell of both."""
        asked = row.job.request.tenant, row.job.request.adapter, row.keys(row.tokens, 0)
        same = self._new.setdefault((asked, row.output[0]), row.sequence)
        if self._forks is not None and same in self._alike:
            self._network.leave(row.sequence)
            row.sequence = same
            self._alike[same].append(row)
        else:
            self._alike[row.sequence] = [row]
            self._network.begin_decoding(row.sequence)

    def part(self, row: Row) -> None:
        """Leave the others if its newest token is not theirs: alone, or with those that go the same way."""
        together, token = row.sequence, row.output[-1]
        if self._forks is None or token == self._alike[together][0].output[-1]:
            return
        same = self._new.get((together, token))
        if same is None or same not in self._alike:
            same = self._new[together, token] = self._forks.fork(together)
        self._alike[together].remove(row)
        row.sequence = same
        self._alike.setdefault(same, []).append(row)

    def spans(self) -> dict[Reading, Span]:
        """The newest token of each sequence, which is not in the cache yet, for the first of its rows."""
        self._new.clear()
        return {rows[0]: rows[0].next_token() for rows in self._alike.values()}

    def leave(self, row: Reading) -> None:
        rows = self._alike[row.sequence]
        rows.remove(row)  # type: ignore[arg-type]
        if not rows:
            del self._alike[row.sequence]
            self._network.leave(row.sequence)
