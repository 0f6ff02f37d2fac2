"""A classifier of pictures with random weights, in a folder as the real ones are, made in a moment."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

LABELS = ("cat", "dog", "bus", "sea")


def tiny_classifier(folder: Path) -> Path:
    """A ViT of one layer that reads 32 × 32 pixels."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    labels = dict(enumerate(LABELS))
    config = ViTConfig(
        image_size=32,
        patch_size=8,
        initializer_range=0.5,
        id2label=labels,
        label2id={one: place for place, one in labels.items()},
        **sizes,
    )
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder
