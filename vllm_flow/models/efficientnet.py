"""EfficientNet-lite from its PyTorch file, as the EfficientNet that transformers knows.

The lite networks differ in two things: their activations end at 6, and no block weighs its channels. The first is a
setting; for the second the weighing stays, and is set to weigh every channel with exactly 1. So the answers are those
of the original network, and no code of anybody else's is needed to run it.

The file is of a form that can run code where it is loaded. It is not loaded: its instructions are listed, names and
places are taken from the list, and the numbers are read as numbers. What is kept is safetensors.
"""

from __future__ import annotations

import json
import pickletools
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from vllm_flow.core.errors import ModelError
from vllm_flow.models.quiet import quiet

HEADS = 3
"""A mark, a version, and the machine's sizes stand before what is meant."""
WORDS = ("storage", "cpu")
COUNT = "num_batches_tracked"
"""The only whole numbers in it."""
SIZE = 224
"""Width and height of what it reads, in pixels: the middle of a picture whose shorter side has 256."""
NAMES = (
    ("_blocks.", "efficientnet.encoder.blocks."),
    ("._expand_conv.", ".expansion.expand_conv."),
    ("._bn0.", ".expansion.expand_bn."),
    ("._depthwise_conv.", ".depthwise_conv.depthwise_conv."),
    ("._bn1.", ".depthwise_conv.depthwise_norm."),
    ("._project_conv.", ".projection.project_conv."),
    ("._bn2.", ".projection.project_bn."),
    ("_conv_stem.", "efficientnet.embeddings.convolution."),
    ("_bn0.", "efficientnet.embeddings.batchnorm."),
    ("_conv_head.", "efficientnet.encoder.top_conv."),
    ("_bn1.", "efficientnet.encoder.top_bn."),
    ("_fc.", "classifier."),
)
"""What stands in the file, and what transformers calls it; the first that is found counts, again and again."""
ONE = 100.0
"""Its logistic function is exactly 1 in float32."""


def convert(file: Path, labels: Path, folder: Path, where: str) -> None:
    """Write the network, its labels and how pictures are prepared for it into `folder`.

    labels: JSON, from the number of each label to its names. Raises ModelError, which begins with `where`.
    """
    try:
        with quiet():
            _network(numbers_in(file), json.loads(labels.read_bytes())).save_pretrained(folder)
            _preparation().save_pretrained(folder)
    except OSError:
        raise  # the disk's fault, not the file's
    except Exception as cause:  # torch and transformers raise whatever a malformed file makes them
        first = str(cause).partition("\n")[0].rstrip(".")
        what = f"{file.name} cannot be read: {type(cause).__name__}: {first}"
        raise ModelError(f"{where}: {what}. The table of packages is wrong.") from cause


def _network(numbers: Mapping[str, Any], labels: Mapping[str, str]) -> Any:
    """With these numbers, by their names in the file; the first of the names that a label has is the one it keeps."""
    import torch
    from transformers import EfficientNetConfig, EfficientNetForImageClassification

    names = {int(number): said.partition(",")[0] for number, said in labels.items()}
    config = EfficientNetConfig(
        image_size=SIZE,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        hidden_dim=1280,
        hidden_act="relu6",
        squeeze_expansion_ratio=1e-9,  # one channel: it weighs nothing
        id2label=names,
        label2id={name: number for number, name in names.items()},
    )
    model = EfficientNetForImageClassification(config)
    found = {_renamed(name): torch.from_numpy(one) for name, one in numbers.items()}
    model.load_state_dict({**_weighing(model.state_dict()), **found})
    return model


def _preparation() -> Any:
    """What makes of a picture what the network reads."""
    from transformers import BitImageProcessorPil

    return BitImageProcessorPil(
        size={"shortest_edge": SIZE + 32},
        crop_size={"height": SIZE, "width": SIZE},
        resample=3,  # bicubic
        image_mean=[127 / 255] * 3,
        image_std=[128 / 255] * 3,
    )


def numbers_in(file: Path) -> dict[str, Any]:
    """Each tensor by its name, as a numpy array.

    In the form of before PyTorch 1.6: what is meant, the names of the pieces in their order, then the pieces, each
    behind its length. Raises what a file of another form makes of that.
    """
    import numpy as np

    with file.open("rb") as stream:
        for _ in range(HEADS):
            list(pickletools.genops(stream))
        meant = {piece: (name, size, steps) for name, piece, size, steps in _meant(stream)}
        order = [argument for _, argument, _ in pickletools.genops(stream) if isinstance(argument, str)]
        found = {}
        for name, size, steps in (meant[piece] for piece in order):
            kind = np.dtype("<i8" if name.endswith(COUNT) else "<f4")
            (count,) = struct.unpack("<q", stream.read(8))
            flat = np.frombuffer(stream.read(count * kind.itemsize), kind)
            strides = [step * kind.itemsize for step in steps]
            found[name] = np.lib.stride_tricks.as_strided(flat, size, strides).copy()
    return found


def _meant(stream: IO[bytes]) -> Iterator[tuple[str, str, list[int], list[int]]]:
    """Of each tensor: its name, its piece, its size, and how far apart its numbers stand in each direction."""
    said, numbers = list[str](), list[list[int]]()
    for code, argument, _ in pickletools.genops(stream):
        if isinstance(argument, str) and argument not in WORDS and " " not in argument:
            said.append(argument)
        elif code.name == "BINPERSID":  # a piece, by what was said last
            numbers = [[]]
        elif numbers and isinstance(argument, int) and "INT" in code.name:
            numbers[-1].append(argument)
        elif numbers and "TUPLE" in code.name:
            numbers.append([])
            if len(numbers) == 3:
                (_, *size), steps, _ = numbers  # behind where it begins in its piece
                yield said[-2], said[-1], size, steps
                numbers = []


def _renamed(name: str) -> str:
    for old, new in NAMES:
        if old in name:
            name = name.replace(old, new)
    return name


def _weighing(state: Mapping[str, Any]) -> dict[str, Any]:
    """The weights by which channels are weighed, so that each counts 1."""
    import torch

    found = {name: one for name, one in state.items() if ".squeeze_excite." in name}
    return {
        name: torch.full_like(one, ONE) if name.endswith("expand.bias") else torch.zeros_like(one)
        for name, one in found.items()
    }
