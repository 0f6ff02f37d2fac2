"""EfficientNet-lite from its PyTorch file, as the EfficientNet that transformers knows.

The lite networks differ in two things: their activations end at 6, and no block weighs its channels. The first is a
setting; for the second the weighing stays, and is set to weigh every channel with exactly 1. So the answers are those
of the original network, and no code of anybody else's is needed to run it.

The file is a pickle, which can run code where it is read as one. It is read here as tensors alone, and only after its
SHA-256 was found to be the pinned one; what is kept is safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vllm_flow.core.errors import ModelError

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
    import torch
    from transformers import BitImageProcessorPil, EfficientNetConfig, EfficientNetForImageClassification
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True)
        names = {int(number): said.partition(",")[0] for number, said in json.loads(labels.read_bytes()).items()}
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
        model.load_state_dict({**_weighing(model.state_dict()), **{_renamed(key): one for key, one in tensors.items()}})
        model.save_pretrained(folder)
        prepared = BitImageProcessorPil(
            size={"shortest_edge": SIZE + 32},
            crop_size={"height": SIZE, "width": SIZE},
            resample=3,  # bicubic
            image_mean=[127 / 255] * 3,
            image_std=[128 / 255] * 3,
        )
        prepared.save_pretrained(folder)
    except OSError:
        raise  # the disk's fault, not the file's
    except Exception as cause:  # torch and transformers raise whatever a malformed file makes them
        first = str(cause).partition("\n")[0].rstrip(".")
        what = f"{file.name} cannot be read: {type(cause).__name__}: {first}"
        raise ModelError(f"{where}: {what}. The table of packages is wrong.") from cause
    finally:
        if bars:
            logging.enable_progress_bar()


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
