"""Recomputing: gradients of long texts, without keeping all that the forward pass makes on the way.

Of each decoder layer only what enters it is kept, and the rest computed a second time when the gradients come to it
(Chen et al. 2016, arXiv:1604.06174): the same numbers, in memory that is mostly that of one layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer


@contextmanager
def recomputed(model: Any) -> Iterator[None]:
    """Meanwhile it is so, where the model has layers that transformers knows as such; gradients, too, are asked here.

    transformers' own switch would want the model in training, where its dropout is, too.
    """
    layers: list[Any] = [one for one in model.modules() if isinstance(one, GradientCheckpointingLayer)]
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
