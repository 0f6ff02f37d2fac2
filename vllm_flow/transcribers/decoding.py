"""Decoding: tokens of several windows at once, by Whisper's rules, the most probable at every step or drawn.

Our own loop, and not `generate`, since the first step's logits say two things that it does not give, which language is
spoken and whether anybody speaks; and since a batch can be left half done. Its tokens are those of `generate`, and the
rules for times are transformers' own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from transformers import DynamicCache, EncoderDecoderCache, GenerationConfig, WhisperTimeStampLogitsProcessor

from vllm_flow.transcribers.loading import Loaded

NEVER = float("-inf")
CACHES = ("cache", "past_key_values")
"""What models call it; until transformers 5.24 by the second."""


class Stopped(Exception):
    """Nobody waits for it any more."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was written down of one window."""

    ids: tuple[int, ...]
    """Without the token that ends it."""
    sureness: float
    """Mean natural log-probability of its tokens, the one that ends it included."""
    silence: float
    """How probable the model found it that nobody speaks, before it began."""


class Decoder:
    """Writes down what the states of an encoder say. `going` is asked before each step whether to go on."""

    def __init__(self, loaded: Loaded, going: Callable[[], bool]) -> None:
        self._loaded, self._model, self._going = loaded, loaded.model, going
        settings, size = loaded.model.generation_config, int(loaded.model.config.vocab_size)
        self._start, self._end = int(settings.decoder_start_token_id), int(loaded.tokenizer.eos_token_id)
        self._no_speech = int(settings.no_timestamps_token_id) - 1  # as transformers has it: it goes by two names
        self._banned = _mask(settings.suppress_tokens, size)
        self._banned_first = self._banned + _mask(settings.begin_suppress_tokens, size)
        self._most = int(loaded.model.config.max_target_positions)
        takes = inspect.signature(loaded.model.forward).parameters
        self._cache = next(name for name in CACHES if name in takes)

    @torch.inference_mode()
    def encoded(self, features: Any) -> Any:
        """States of one spectrogram (bins, frames), of shape (1, positions, width).

        One at a time: on a CPU a batch is hardly faster, and a recording's states do not depend on what waits beside.
        """
        return self._model.model.encoder(features[None].to(self._model.dtype)).last_hidden_state

    @torch.inference_mode()
    def language(self, states: Any) -> str:
        """The code of the language that is spoken; only of a model that knows several."""
        logits = self._step(states, torch.tensor([[self._start]]), self._empty())[0]
        codes = list(self._loaded.languages)
        return codes[int(logits[[self._loaded.languages[code] for code in codes]].argmax())]

    @torch.inference_mode()
    def write(
        self, states: Any, languages: Sequence[str | None], tasks: Sequence[str], temperature: float = 0.0
    ) -> list[Row]:
        """Of states (rows, positions, width). temperature: of the draws; 0: the most probable. Raises Stopped."""
        prompts = torch.tensor([self._prompt(*one) for one in zip(languages, tasks, strict=True)])
        begin, cache = prompts.shape[1], self._empty()
        logits = self._step(states, prompts[:, :1], cache)
        found = Rows(prompts, logits.softmax(-1)[:, self._no_speech], self._end, self._most, temperature)
        if begin > 1:
            logits = self._step(states, prompts[:, 1:], cache)
        times = self._times(begin)
        while not found.all_over:
            if not self._going():
                raise Stopped
            if (keep := found.pruned()) is not None:
                logits, states = logits[keep], states[keep]
                cache.batch_select_indices(keep)
            banned = self._banned if found.ids.shape[1] > begin else self._banned_first
            found.add(times(found.ids, logits + banned))
            if not found.all_over:
                logits = self._step(states, found.ids[:, -1:], cache)
        return [found.done[row] for row in range(len(prompts))]

    def _prompt(self, language: str | None, task: str) -> list[int]:
        if language is None or not self._loaded.languages:
            return [self._start]
        return [self._start, self._loaded.languages[language], self._loaded.tasks[task]]

    def _times(self, begin: int) -> Any:
        settings = self._model.generation_config
        rules = GenerationConfig(
            no_timestamps_token_id=settings.no_timestamps_token_id,
            eos_token_id=self._end,
            bos_token_id=self._end,
            max_initial_timestamp_index=getattr(settings, "max_initial_timestamp_index", None),
        )
        return WhisperTimeStampLogitsProcessor(rules, begin_index=begin)

    def _empty(self) -> EncoderDecoderCache:
        return EncoderDecoderCache(DynamicCache(), DynamicCache())

    def _step(self, states: Any, ids: Any, cache: Any) -> Any:
        """Logits after the last id of each row, float32; the cache grows."""
        found = self._model(encoder_outputs=(states,), decoder_input_ids=ids, use_cache=True, **{self._cache: cache})
        return found.logits[:, -1].float()


class Rows:
    """The rows of a batch as they grow. Those that are over stay, writing ends, until half of them are."""

    def __init__(self, prompts: Any, silence: Any, end: int, most: int, temperature: float) -> None:
        self.ids = prompts
        self.done: dict[int, Row] = {}
        self._begin, self._end, self._most = prompts.shape[1], end, most
        self._silence, self._sums = silence.tolist(), torch.zeros(len(prompts))
        self._temperature, self._chance = temperature, Random(temperature)  # noqa: S311  no secret depends on it
        self._rows, self._over = torch.arange(len(prompts)), torch.zeros(len(prompts), dtype=torch.bool)

    @property
    def all_over(self) -> bool:
        return bool(self._over.all())

    def add(self, scores: Any) -> None:
        """A token for each row; those that are over take none."""
        chosen = scores.argmax(-1) if self._temperature == 0 else self._drawn(scores)
        chosen = chosen.masked_fill(self._over, self._end)
        sureness = scores.log_softmax(-1).gather(-1, chosen[:, None])[:, 0]
        self._sums = self._sums + sureness.masked_fill(self._over, 0)
        self.ids = torch.cat((self.ids, chosen[:, None]), 1)
        ending = ((chosen == self._end) | (self.ids.shape[1] >= self._most)) & ~self._over
        for place in ending.nonzero()[:, 0].tolist():
            ids = self.ids[place, self._begin :].tolist()
            sureness, row = float(self._sums[place]) / len(ids), int(self._rows[place])
            self.done[row] = Row(tuple(ids[:-1] if ids[-1] == self._end else ids), sureness, self._silence[row])
        self._over = self._over | ending

    def _drawn(self, scores: Any) -> Any:
        """All rows by the same number, which depends on step and temperature alone, so that company changes nothing."""
        shares = (scores / self._temperature).double().softmax(-1).cumsum(-1)
        point = (1 - self._chance.random()) * shares[:, -1:]  # above 0, so that no token of probability 0 is hit
        return torch.searchsorted(shares, point)[:, 0]

    def pruned(self) -> Any:
        """Which rows stay, when half of them are over, which then take no more time; None when nothing changes."""
        if int(self._over.sum()) * 2 < len(self._over):
            return None
        keep = (~self._over).nonzero()[:, 0]
        self.ids, self._rows, self._over = self.ids[keep], self._rows[keep], self._over[keep]
        self._sums = self._sums[keep]
        return keep


def _mask(banned: Sequence[int] | None, size: int) -> Any:
    mask = torch.zeros(size)
    mask[list(banned or ())] = NEVER
    return mask
