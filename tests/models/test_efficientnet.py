"""EfficientNet-lite converted: the same answers as the network that its file is of, written out here step by step."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d, batch_norm, conv2d, linear, pad
from transformers import AutoImageProcessor, AutoModelForImageClassification

from vllm_flow.core.errors import ModelError
from vllm_flow.models.efficientnet import convert, numbers_in

STAGES = [
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
]
"""Repeats, kernel, stride, expansion, channels in and out: table 1 of arXiv:1905.11946."""
Weights = dict[str, torch.Tensor]


def blocks() -> Iterator[tuple[str, int, int, int, int, int]]:
    number = 0
    for repeats, kernel, stride, expansion, before, after in STAGES:
        for one in range(repeats):
            yield f"_blocks.{number}.", kernel, stride if one == 0 else 1, expansion, after if one else before, after
            number += 1


def random_weights() -> Weights:
    torch.manual_seed(0)
    made: Weights = {}

    def conv(name: str, *shape: int) -> None:
        made[f"{name}.weight"] = torch.randn(*shape) * (2 / (shape[1] * shape[2] * shape[3])) ** 0.5

    def norm(name: str, size: int) -> None:
        made[f"{name}.weight"], made[f"{name}.bias"] = torch.rand(size) + 0.5, torch.randn(size) * 0.2
        made[f"{name}.running_mean"], made[f"{name}.running_var"] = torch.randn(size) * 0.2, torch.rand(size) + 0.5
        made[f"{name}.num_batches_tracked"] = torch.tensor(1)

    conv("_conv_stem", 32, 3, 3, 3)
    norm("_bn0", 32)
    for name, kernel, _, expansion, before, after in blocks():
        wide = before * expansion
        if expansion > 1:
            conv(f"{name}_expand_conv", wide, before, 1, 1)
            norm(f"{name}_bn0", wide)
        conv(f"{name}_depthwise_conv", wide, 1, kernel, kernel)
        norm(f"{name}_bn1", wide)
        conv(f"{name}_project_conv", after, wide, 1, 1)
        norm(f"{name}_bn2", after)
    conv("_conv_head", 1280, 320, 1, 1)
    norm("_bn1", 1280)
    made["_fc.weight"], made["_fc.bias"] = torch.randn(1000, 1280) * 0.05, torch.randn(1000)
    return made


def answers(made: Weights, pixels: torch.Tensor) -> torch.Tensor:
    """Activations that end at 6, no weighing of channels, padding as TensorFlow's SAME."""

    def convolved(name: str, given: torch.Tensor, stride: int = 1, groups: int = 1) -> torch.Tensor:
        weight = made[f"{name}.weight"]
        size, kernel = given.shape[-1], weight.shape[-1]
        missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        around = (missing // 2, missing - missing // 2) * 2
        return conv2d(pad(given, around), weight, stride=stride, groups=groups)

    def normed(name: str, given: torch.Tensor) -> torch.Tensor:
        mean, var = made[f"{name}.running_mean"], made[f"{name}.running_var"]
        return batch_norm(given, mean, var, made[f"{name}.weight"], made[f"{name}.bias"], eps=1e-3)

    state = normed("_bn0", convolved("_conv_stem", pixels, 2)).clamp(0, 6)
    for name, _, stride, expansion, before, after in blocks():
        given = state
        if expansion > 1:
            state = normed(f"{name}_bn0", convolved(f"{name}_expand_conv", state)).clamp(0, 6)
        state = normed(f"{name}_bn1", convolved(f"{name}_depthwise_conv", state, stride, state.shape[1])).clamp(0, 6)
        state = normed(f"{name}_bn2", convolved(f"{name}_project_conv", state))
        state = state + given if stride == 1 and before == after else state
    state = normed("_bn1", convolved("_conv_head", state)).clamp(0, 6)
    return linear(adaptive_avg_pool2d(state, 1).flatten(1), made["_fc.weight"], made["_fc.bias"])


def labels(folder: Path) -> Path:
    file = folder / "labels.json"
    file.write_text(json.dumps({str(number): f"label {number}, another name" for number in range(1000)}))
    return file


def test_the_converted_network_gives_the_answers_of_its_file(tmp_path: Path) -> None:
    made = random_weights()
    torch.save(made, tmp_path / "weights.pth", _use_new_zipfile_serialization=False)
    convert(tmp_path / "weights.pth", labels(tmp_path), tmp_path / "made", "tagger.package: x")
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "made").eval()
    pixels = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        found, expected = model(pixel_values=pixels).logits, answers(made, pixels)
    assert float(expected.std()) > 0.1
    assert float((found - expected).abs().max()) < 1e-3 * float(expected.abs().max())
    assert (model.config.id2label[0], model.config.id2label[999]) == ("label 0", "label 999")
    prepare = AutoImageProcessor.from_pretrained(tmp_path / "made", backend="pil")
    assert (prepare.size.shortest_edge, prepare.crop_size.height) == (256, 224)


def test_the_numbers_of_a_file_are_read_as_they_are_however_they_lie(tmp_path: Path) -> None:
    made = {
        "a.weight": torch.randn(4, 3, 2, 5).permute(2, 0, 3, 1),
        "b.num_batches_tracked": torch.tensor(7),
        "c": torch.randn(6)[2:4].clone(),
    }
    torch.save(OrderedDict(made), tmp_path / "weights.pth", _use_new_zipfile_serialization=False)
    found = numbers_in(tmp_path / "weights.pth")
    assert {name: one.tolist() for name, one in found.items()} == {name: one.tolist() for name, one in made.items()}


def test_a_file_that_is_none_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"no tensors")
    with pytest.raises(
        ModelError, match=r"^tagger\.package: x: weights\.pth cannot be read: .*\. The table of packages is wrong\.$"
    ):
        convert(tmp_path / "weights.pth", labels(tmp_path), tmp_path / "made", "tagger.package: x")
