"""Media as JSON and back: all but the content, which stores and records keep beside, once for each digest."""

from __future__ import annotations

import re
from typing import Any

from vllm_flow.core.json_checks import brief, check_keys, text_from_json, whole_from_json
from vllm_flow.core.media import Audio, Image, Medium

DIGEST = re.compile("[0-9a-f]{64}")
NUMBERS = {"image": ("width", "height"), "audio": ("sample_rate_hz", "frames")}
OPTIONAL = {"image": ("source", "of_frames"), "audio": ("source",)}


def medium_to_json(medium: Medium) -> dict[str, Any]:
    numbers = {name: getattr(medium, name) for name in NUMBERS[medium.kind]}
    return {
        "type": medium.kind,
        "digest": medium.digest,
        **numbers,
        **({"source": medium.source} if medium.source else {}),
        **({"of_frames": medium.of_frames} if isinstance(medium, Image) and medium.of_frames > 1 else {}),
    }


def medium_from_json(data: Any, where: str) -> Medium:
    """What it is, without its content. Raises ValueError."""
    kind = data["type"]
    check_keys(data, where, ("type", "digest", *NUMBERS[kind]), OPTIONAL[kind])
    digest = text_from_json(data["digest"], f"{where}.digest")
    if not DIGEST.fullmatch(digest):
        raise ValueError(f"{where}.digest: {brief(digest)} is no digest. It has 64 hexadecimal digits.")
    first, second = (whole_from_json(data[name], f"{where}.{name}", 1) for name in NUMBERS[kind])
    source = text_from_json(data.get("source", ""), f"{where}.source")
    if kind == "audio":
        return Audio(digest, first, second, source)
    of_frames = whole_from_json(data.get("of_frames", 1), f"{where}.of_frames", 1)
    return Image(digest, first, second, source, of_frames=of_frames)
