"""Names: a fast tokenizer, token for token as it is, but in its vocabulary control tokens are called by their seals.

So no text spells one, neither as a whole nor in halves that a model of pieces would join, and where a seal stands the
text is cut as it would be at the token: with the same spaces around it and the same beginnings behind it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

from vllm_flow.seam.seals import Seals


def moved(tokenizer: Tokenizer, seals: Seals) -> Tokenizer:
    """Takes some tenths of a second for a large vocabulary, and holds it twice."""
    whole = json.loads(tokenizer.to_str())
    names = {name: seals.seal(name) for name in seals.names.values()}
    for one in whole["added_tokens"]:
        if (seal := names.get(one["content"])) is not None:
            left = tokenizer.normalizer is None or seal in tokenizer.normalizer.normalize_str(seal)
            one |= {"content": seal, "normalized": one["normalized"] and left}  # some leave out what is no character
    whole["model"] = _model(whole["model"], names)
    whole |= {"truncation": None, "padding": None}
    return Tokenizer.from_str(json.dumps(whole))


def _model(model: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Of any kind: its vocabulary by name or in a list with scores, and pairs of pieces that it joins."""
    vocab = model["vocab"]
    if isinstance(vocab, dict):
        vocab = {_called(names, name): token_id for name, token_id in vocab.items()}
    else:
        vocab = [[_called(names, name), score] for name, score in vocab]
    changed = {**model, "vocab": vocab}
    if isinstance(model.get("unk_token"), str):
        changed["unk_token"] = _called(names, model["unk_token"])
    if "merges" in model:
        changed["merges"] = [one for one in model["merges"] if not _joins(one, names)]
    return changed


def _joins(merge: Any, names: Mapping[str, str]) -> bool:
    """Whether it makes or takes a control token."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left in names or right in names or left + right in names


def _called(names: Mapping[str, str], name: str) -> str:
    return names.get(name, name)
