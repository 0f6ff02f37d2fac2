"""Senses: which media a model reads, told by its configuration alone, so that a check needs no weights and no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vllm_flow.core.media import MediaKind
from vllm_flow.models.spec import Model

TOWERS: Mapping[MediaKind, str] = {"image": "vision_config", "audio": "audio_config"}
"""What configurations call the part that reads such a medium."""
PLACES: Mapping[MediaKind, tuple[str, ...]] = {
    "image": ("image_token_id", "image_token_index"),
    "audio": ("audio_token_id", "audio_token_index"),
}
"""What they call the token in whose place the medium is read; models of pictures alone have none."""
NONE: frozenset[MediaKind] = frozenset()


def senses(config: Mapping[str, Any]) -> frozenset[MediaKind]:
    """Of a model with this configuration, as `config.json` has it."""
    return frozenset(places(config))


def places(config: Mapping[str, Any]) -> dict[MediaKind, int]:
    """The id of the token in whose place each kind of medium is read."""
    found: dict[MediaKind, int] = {}
    for kind, tower in TOWERS.items():
        ids = [config[name] for name in PLACES[kind] if isinstance(config.get(name), int)]
        if isinstance(config.get(tower), Mapping) and ids:
            found[kind] = ids[0]
    return found


def foreseen_senses(model: Model) -> frozenset[MediaKind]:
    """As far as that is known before anything is fetched: a model of a hub may read all there is."""
    if model.path is not None:
        return _of_folder(Path(model.path).expanduser())
    return frozenset(TOWERS) if model.hub is not None and model.gguf is None else NONE


def _of_folder(folder: Path) -> frozenset[MediaKind]:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RuntimeError):  # loading will say what is wrong with it
        return NONE
    return senses(config) if isinstance(config, dict) else NONE
