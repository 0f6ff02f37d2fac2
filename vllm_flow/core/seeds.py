"""Seeds: where randomness comes from, and why it can be repeated.

A seed is a hash of what the request *is*: run seed, conversation, turn, node, sample index. Never of the sweep point,
so points share their noise and comparisons between them are paired (common random numbers), and never of batch, time or
order, so a turn gives the same answer alone, in a batch and after a resume.
"""

from __future__ import annotations

import hashlib
import json


def derive_seed(run_seed: int, conversation: str, turn: int, node: str, sample: int) -> int:
    """64 bits: the first eight bytes, little-endian, of SHA-256 over the JSON list of the arguments."""
    key = json.dumps([run_seed, conversation, turn, node, sample], ensure_ascii=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(key.encode("ascii")).digest()[:8], "little")
