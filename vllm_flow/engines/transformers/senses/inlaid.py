"""A call of the language model into which media are laid: embeddings in the place of some of its tokens."""

from __future__ import annotations

from collections.abc import Sequence as Many
from typing import Any

import torch
from torch import Tensor

from vllm_flow.engines.transformers.loaded import Span
from vllm_flow.engines.transformers.senses.shown import Inlay
from vllm_flow.engines.transformers.senses.tower import DEEP

Laid = tuple[int, Inlay]
"""What is laid into a call, behind which of its tokens."""


def inlays(ordered: Many[Span]) -> list[Laid]:
    """Of a call with these spans one behind the other."""
    found: list[Laid] = []
    place = 0
    for span in ordered:
        start, count = span.sequence.length, len(span.tokens)
        if span.sequence.shown is not None and (inlay := span.sequence.shown.inlay(start, start + count)) is not None:
            found.append((place, inlay))
        place += count
    return found


def inlaid(embed: Any, ids: Tensor, positions: Tensor, laid: Many[Laid]) -> dict[str, Any]:
    """What the model is given in place of ids and positions, int64 [tokens] each. embed: its embedding of tokens."""
    device = ids.device
    filled = torch.cat([place + one.places for place, one in laid]).to(device)
    # No embedding may be there for the ids that are filled.
    embeds = embed(ids.index_fill(0, filled, 0))
    embeds[filled] = torch.cat([one.embedded.rows for _, one in laid]).to(embeds)
    given: dict[str, Any] = {"inputs_embeds": embeds[None], "position_ids": positions[None]}
    if (axes := laid[0][1].axes) is not None:
        table = positions.repeat(len(axes), 1)
        for place, one in laid:
            if one.axes is not None:
                table[:, place : place + one.axes.shape[1]] = one.axes.to(device)
        given["position_ids"] = table[:, None]
    if laid[0][1].embedded.deep:
        mask = torch.zeros(ids.shape, dtype=torch.bool, device=device).index_fill(0, filled, value=True)
        deep = zip(*(one.embedded.deep for _, one in laid), strict=True)
        given |= {"visual_pos_masks": mask[None], DEEP: [torch.cat(several) for several in deep]}
    return given
