"""Tiny models that see or hear, saved once and loaded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import tiny_media
from vllm_flow.engines.transformers.load import Loaded, load
from vllm_flow.models.spec import Model

KINDS = {**tiny_media.SEEING, **tiny_media.HEARING, "gemma3": tiny_media.gemma3}


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model."""
    root = tmp_path_factory.mktemp("senses")

    def folder(family: str) -> Path:
        if not (root / family).exists():
            KINDS[family](root / family)
        return root / family

    return folder


@pytest.fixture(scope="module")
def loaded(saved: Callable[[str], Path]) -> Iterator[Callable[[str], Loaded]]:
    known: dict[str, Loaded] = {}

    def get(named: str) -> Loaded:
        """named: a family, and what it computes in if that is not float32."""
        if named not in known:
            family, _, dtype = named.partition(" ")
            known[named] = load(Model(family, path=str(saved(family))), "cpu", dtype or "float32")  # type: ignore[arg-type]
        return known[named]

    yield get
    for one in known.values():
        one.network.close()
