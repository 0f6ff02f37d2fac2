"""Whether a model that sees or hears can run in the batch: tried on the model itself, as `fitting.py` tries the others.

It is shown a small picture, or played a short sound, and what the batch makes of that is held against the model's own
forward pass.
"""

from __future__ import annotations

import io
import struct
import wave
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from vllm_flow.core.media import Audio, Image, MediaKind, Medium
from vllm_flow.engines.transformers.fitting import alike
from vllm_flow.engines.transformers.loaded import Reads, Span, Unfit
from vllm_flow.engines.transformers.senses.decoder import Decoder
from vllm_flow.engines.transformers.senses.reader import Reader
from vllm_flow.engines.transformers.senses.rendering import Placed, View
from vllm_flow.engines.transformers.senses.shown import Shown
from vllm_flow.engines.transformers.senses.tower import Tower
from vllm_flow.media import audio_from, image_from

SIDE = 96
"""Of the picture, in pixels."""
RATE, FRAMES = 16_000, 8_000
AROUND = 3
"""Tokens of text before and behind the medium."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One medium between some tokens, and the logits after each of the last of them."""

    view: View
    filled: Tensor
    wanted: Tensor
    """[AROUND, vocab]."""


def trials(decoder: Decoder, reader: Reader, tower: Tower) -> list[Trial]:
    """One for each kind that the model reads, before anything of it is replaced. Raises Unfit."""
    found = []
    vocab = int(decoder.config.get_text_config().vocab_size)
    for kind in sorted(reader.kinds):
        medium = example(kind)
        spread = reader.spread(medium)
        plain = [one for one in range(vocab) if one not in spread.ids and one not in reader.marks]
        texts = [plain[(place * 104_729 + 11) % len(plain)] for place in range(2 * AROUND)]
        ids = [*texts[:AROUND], *spread.ids, *texts[AROUND:]]
        inputs = {**spread.inputs, **reader.types(ids)}
        tower.given(ids, inputs)
        wanted = tower.forward(ids, inputs).logits[0, -AROUND:].float()
        found.append(Trial(View(ids, (Placed(medium, AROUND),)), spread.filled, wanted))
    return found


@torch.inference_mode()
def check(network: Reads, tower: Tower, several: list[Trial], dtype: torch.dtype) -> None:
    """Raises Unfit where the network gives other logits."""
    for trial in several:
        ids = list(trial.view.ids)
        sequence = network.sequence(len(ids))
        sequence.shown = Shown(trial.view, [trial.filled], tower, "")
        cuts = [0, AROUND + 1, len(ids) - AROUND + 1]  # a piece ends within the medium
        for start, stop in pairwise(cuts):
            logits = network.read([Span(sequence, ids[start:stop])])
        found = [logits[0]]
        network.begin_decoding(sequence)
        found += [network.read([Span(sequence, [one])])[0] for one in ids[cuts[-1] :]]
        network.leave(sequence)
        if not alike(torch.stack(found), trial.wanted, dtype):
            raise Unfit(f"what it makes of {trial.view.media[0].medium.kind} depends on more than the batch knows")


def example(kind: MediaKind) -> Medium:
    """A small one."""
    return _picture() if kind == "image" else _sound()


def _picture() -> Image:
    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.frombytes("RGB", (SIDE, SIDE), bytes(one * 83 % 251 for one in range(SIDE * SIDE * 3))).save(file, "PNG")
    return image_from(file.getvalue(), "an image to try")


def _sound() -> Audio:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes(b"".join(struct.pack("<h", one * one % 19997 - 9998) for one in range(FRAMES)))
    return audio_from(file.getvalue(), "a sound to try")
