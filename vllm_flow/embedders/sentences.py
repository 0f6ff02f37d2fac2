"""The embedder, live: one text at a time, so that a vector does not depend on the texts beside it.

A batch would pad its texts to one length and change the last bits of each, and on a CPU it is hardly faster: texts of
60 to 240 tokens took MiniLM 24 to 27 ms each alone, and 20 to 24 ms in batches of 8 and of 32, on two cores.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch
from tokenizers import Tokenizer
from transformers import AutoModel

from vllm_flow.core.embedding import Kind
from vllm_flow.core.errors import ModelError
from vllm_flow.embedders.kept import Kept
from vllm_flow.models.digest import digests
from vllm_flow.models.progress import tell
from vllm_flow.models.quiet import reading
from vllm_flow.seam.control import is_control
from vllm_flow.seam.names import moved
from vllm_flow.seam.seals import SEAL, Seals

if TYPE_CHECKING:
    from vllm_flow.core.embedding import Vectors
    from vllm_flow.embedders.options import Sentences

MANY = 64
"""Of so many new texts at once the progress is told."""
POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first"}
AS_TEXT = "[SEP] is text"
"""Of vectors: what texts spell is no control token."""
CLOSED = "the embedder was closed before it was done. Open a new one."


class SentenceEmbedder:
    """Works in a thread of its own, one request after the other, for any event loop."""

    def __init__(self, options: Sentences, folder: Path, where: str) -> None:
        self._options, self._folder, self._where = options, folder, where
        self._name = str(options.package) if options.path is None else folder.name
        self._pooling = _pooling(folder, where)
        self._model, self._tokenizer = _loaded(folder, where)
        self._window = _window(folder, self._model.config)
        self._first, self._last = _wrapping(self._tokenizer)
        self._kept = Kept(_identity(options, folder, self._pooling, self._window)) if options.kept else None
        self._known: OrderedDict[tuple[str, Kind, str], Any] = OrderedDict()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vllm-flow embedder")
        self._closed = False

    async def embed(
        self, texts: Sequence[str], kind: Kind = "passage", *, keep: bool = False, tenant: str = ""
    ) -> Vectors:
        work = partial(self._embed, tuple(texts), (tenant, kind), keep and kind == "passage")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def describe(self) -> Mapping[str, Any]:
        return {
            "embedder": "transformers",
            "model": self._name,
            "width": int(self._model.config.hidden_size),
            "window": self._window,
            "pooling": self._pooling,
            **digests(self._folder),
        }

    def close(self) -> None:
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._kept is not None:
            self._kept.close()

    def _embed(self, texts: tuple[str, ...], of: tuple[str, Kind], keep: bool) -> Vectors:
        different, disk = dict.fromkeys(texts), self._kept if keep else None
        new = [one for one in different if (*of, one) not in self._known]
        made = {} if disk is None else disk.found(new)
        fresh = dict(self._made([one for one in new if one not in made], of[1]))
        if disk is not None:
            disk.keep(fresh)
        made |= fresh
        found = {}
        for text in different:
            found[text] = self._known[*of, text] = made[text] if text in made else self._known.pop((*of, text))
        while len(self._known) > self._options.remembered:
            self._known.popitem(last=False)
        if not texts:
            return numpy.zeros((0, int(self._model.config.hidden_size)), dtype=numpy.float32)
        return numpy.stack([found[one] for one in texts])

    def _made(self, texts: Sequence[str], kind: Kind) -> Iterator[tuple[str, Any]]:
        for place, text in enumerate(texts):
            if self._closed:
                raise ModelError(f"{self._where}: {CLOSED}")
            if len(texts) >= MANY:
                tell(f"{self._name}: embed {len(texts)} texts", place, len(texts))
            yield text, self._vector(text, kind)

    @torch.inference_mode()
    def _vector(self, text: str, kind: Kind) -> Any:
        before = self._options.before_questions if kind == "question" else self._options.before_passages
        total, count = torch.zeros(int(self._model.config.hidden_size)), 0
        for ids in self._windows(before + text):
            hidden = self._model(input_ids=torch.tensor([ids])).last_hidden_state[0].float()
            states = hidden[:1] if self._pooling == "first" else hidden
            total, count = total + states.sum(0), count + len(states)
        return torch.nn.functional.normalize(total / count, dim=0).numpy()

    def _windows(self, text: str) -> Iterator[list[int]]:
        """The text's ids, so many at a time as the model reads, each time with the tokens that begin and end a text."""
        ids = [one for said in text.split(SEAL) for one in self._tokenizer.encode(said, add_special_tokens=False).ids]
        room = self._window - len(self._first) - len(self._last)
        for start in range(0, max(1, len(ids)), room):
            yield [*self._first, *ids[start : start + room], *self._last]


def _identity(options: Sentences, folder: Path, pooling: str, window: int) -> str:
    """Equal ones make equal vectors of passages."""
    facts = [*digests(folder).values(), pooling, window, options.before_passages, torch.__version__, AS_TEXT]
    return hashlib.sha256(json.dumps(facts).encode("ascii")).hexdigest()[:16]


def _loaded(folder: Path, where: str) -> tuple[Any, Tokenizer]:
    with reading(where, "Give a folder as sentence-transformers writes it."):
        model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    added = tokenizer.get_added_tokens_decoder().items()
    names = {token_id: one.content for token_id, one in added if is_control(one.content, one.special)}
    return model.eval(), moved(tokenizer, Seals(names))  # as it is saved it cuts at 128 tokens, silently


def _json(file: Path) -> Any:
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}


def _pooling(folder: Path, where: str) -> str:
    """How a folder of sentence-transformers wants its states pooled; the mean where it does not say."""
    wanted = [name for name, on in _json(folder / "1_Pooling" / "config.json").items() if on is True]
    modes = [name for name in wanted if name.startswith("pooling_mode_")]
    if not modes:
        return "mean"
    if len(modes) > 1 or modes[0] not in POOLINGS:
        problem = f"it is pooled by {', '.join(modes)}, and here only by the mean or the first token"
        raise ModelError(f"{where}: {problem}. Choose another model.")
    return POOLINGS[modes[0]]


def _window(folder: Path, config: Any) -> int:
    """How many tokens the model reads at once, those that begin and end a text included."""
    most = int(config.max_position_embeddings) - 2  # RoBERTa's positions begin behind its padding
    return min(int(_json(folder / "sentence_bert_config.json").get("max_seq_length") or most), most)


def _wrapping(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids that begin and end every text."""
    inner, whole = tokenizer.encode("a", add_special_tokens=False).ids, tokenizer.encode("a").ids
    start = next(place for place in range(len(whole)) if whole[place : place + len(inner)] == inner)
    return whole[:start], whole[start + len(inner) :]
