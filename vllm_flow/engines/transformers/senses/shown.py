"""What is shown to one sequence: embeddings in the place of some of its tokens, and where all of them stand."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vllm_flow.engines.transformers.senses.rendering import View
from vllm_flow.engines.transformers.senses.tower import Embedded, Tower


@dataclass(frozen=True, eq=False)
class Inlay:
    """What is laid into some tokens of one sequence."""

    places: Tensor
    """int64: which of those tokens."""
    embedded: Embedded
    axes: Tensor | None
    """Where all those tokens stand, int64 [axes, tokens]; None where they are numbered one by one."""


class Shown:
    """Of one prompt; whatever follows it is text."""

    def __init__(self, view: View, filled: Sequence[Tensor], tower: Tower, tenant: str) -> None:
        """filled: of each medium, which of its tokens are."""
        self._media = [(one.medium, one.start + places) for one, places in zip(view.media, filled, strict=True)]
        self._tower, self._ids, self._tenant = tower, view.ids, tenant
        self._keys: list[Hashable] = list(view.ids)
        for medium, places in self._media:
            for number, place in enumerate(places.tolist()):
                self._keys[place] = (medium.digest, number)
        self._axes = tower.positions(view.ids, [(tenant, medium) for medium, _ in self._media])
        self._firsts: list[int] = list(range(len(view.ids))) if self._axes is None else self._axes[0].tolist()
        self._shift = 0 if self._axes is None else int(self._axes.max()) + 1 - len(view.ids)

    def keys(self, start: int, tokens: Sequence[int]) -> tuple[Hashable, ...]:
        """What the prefix cache knows these tokens by: one that is filled by its medium, whatever its id."""
        return (*self._keys[start : start + len(tokens)], *tokens[max(0, len(self._keys) - start) :])

    def positions(self, start: int, stop: int) -> list[int]:
        """Where tokens stand, on the first axis; those of texts stand there on all."""
        end = len(self._firsts)
        behind = range(max(start, end) + self._shift, max(stop, end) + self._shift)
        return [*self._firsts[start:stop], *behind]

    def inlay(self, start: int, stop: int) -> Inlay | None:
        """What is laid into the tokens from `start` to before `stop`; None if nothing is."""
        chosen = [(medium, (places >= start) & (places < stop), places) for medium, places in self._media]
        chosen = [one for one in chosen if one[1].any()] if start < len(self._ids) else []
        if not chosen:
            return None
        found = [_only(self._tower.embedded((self._tenant, medium)), which) for medium, which, _ in chosen]
        rows = torch.cat([one.rows for one in found])
        deep = tuple(torch.cat(several) for several in zip(*(one.deep for one in found), strict=True))
        places = torch.cat([places[which] - start for _, which, places in chosen])
        return Inlay(places, Embedded(rows, deep), self._axes_of(start, stop))

    def whole(self) -> dict[str, Any]:
        """What the whole model is given for all of the prompt, beside its tokens."""
        return self._tower.together(self._ids, [medium for medium, _ in self._media])

    def _axes_of(self, start: int, stop: int) -> Tensor | None:
        if self._axes is None:
            return None
        behind = torch.tensor(self.positions(start, stop)[max(0, len(self._ids) - start) :], dtype=torch.long)
        return torch.cat([self._axes[:, start:stop].cpu(), behind.expand(len(self._axes), -1)], dim=1)


def _only(embedded: Embedded, which: Tensor) -> Embedded:
    which = which.to(embedded.rows.device)
    return Embedded(embedded.rows[which], tuple(one[which] for one in embedded.deep))
