"""Ways: how what a turn shows reached the model, by itself or in words, for whoever watches a run.

Told of each medium once, however often a conversation comes back to it; of many, as how many there were.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator

from vllm_flow.core.descriptions import NOUNS, Described, named
from vllm_flow.core.events import Called, Event, NodeDone, TurnDone
from vllm_flow.core.media import Medium
from vllm_flow.core.media_of import media_in, media_of
from vllm_flow.core.values import Turn

BY_NAME = 3
"""Up to so many media are told of by their names."""
ITSELF = "read by the model itself"


class Ways:
    """An observer. What nobody described is told with what was left out of its prompt, and not here."""

    def __init__(self) -> None:
        self._described: dict[Hashable, Described] = {}
        """By run and turn."""
        self._known: set[tuple[str, str]] = set()
        self._new: defaultdict[str, list[str]] = defaultdict(list)
        """By way, the names of media that `lines` has not told of: of many, only as many as are told by name."""
        self._count: defaultdict[tuple[str, str], int] = defaultdict(int)
        """By way and kind."""

    def __call__(self, event: Event, run: Hashable = None) -> None:
        """run: whose event it is, of several at once that have turns of the same names."""
        match event:
            case NodeDone(turn, _, Described() as described):
                self._described[run, _key(turn)] = described
            case Called(turn, request=request):
                if shown := media_of(turn):
                    read = {one.digest for one in media_in(request.prompt)}
                    self._take(shown, read, self._described.get((run, _key(turn))))
            case TurnDone(result):
                self._described.pop((run, _key(result.turn)), None)

    def lines(self) -> Iterator[str]:
        """Of all that was not told before: `cat.png: read by the model itself`, or `120 pictures: …`."""
        new, count = self._new, self._count
        self._new, self._count = defaultdict(list), defaultdict(int)
        if sum(count.values()) <= BY_NAME:
            yield from (f"{name}: {way}" for way, names in new.items() for name in names)
            return
        for (way, kind), number in count.items():
            yield f"{number} {NOUNS[kind]}{'' if number == 1 else 's'}: {way}"

    def _take(self, shown: dict[str, Medium], read: set[str], described: Described | None) -> None:
        for digest, medium in shown.items():
            words = described.describers(digest) if described is not None else ()
            way = ITSELF if digest in read else f"described ({', '.join(words)})" if words else ""
            if way and (digest, way) not in self._known:
                self._known.add((digest, way))
                self._count[way, medium.kind] += 1
                if len(self._new[way]) < BY_NAME:
                    self._new[way].append(named(medium))


def _key(turn: Turn) -> tuple[str, int | None]:
    return turn.conversation, turn.number
