"""How fast speech is written down: eight recordings of half a minute, at once and one by one, beside transformers.

    python tests/bench/speech.py [--dtype float32|bfloat16] [--rounds N] [--ours]

In each round all ways are taken in turn; the median of the rounds counts, of times and of ratios. A real-time factor is
the time that it took over the time that was spoken. Needs the package index, for the weights and for the recordings.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from transformers import WhisperForConditionalGeneration, WhisperProcessor, pipeline  # noqa: E402
from transformers.utils import logging  # noqa: E402

from tests.transcribers.spoken import Recorded, concatenated, errors, recordings, words  # noqa: E402
from tests.transcribers.tiny import recording  # noqa: E402
from vllm_flow.models.cache import models_folder  # noqa: E402
from vllm_flow.models.pull import pull  # noqa: E402
from vllm_flow.transcribers import Whisper  # noqa: E402

ALONE, TOGETHER = "vllm-flow, one by one", "vllm-flow, 8 at once"
FILES, SECONDS = 8, 22.0
"""With the sentence that they end in, they last less than the 30 seconds that the model hears at once."""


Way = Callable[[], list[str]]


def ours(given: list[Recorded], dtype: Any) -> tuple[dict[str, Way], Callable[[], None]]:
    """The ways, and what closes them."""
    transcriber = Whisper(package="whisper-tiny.en", dtype=dtype, remembered=0).open()
    sounds = [recording(one.samples, one.name) for one in given]

    async def at_once() -> list[str]:
        return [one.text for one in await asyncio.gather(*(transcriber.transcribe(one) for one in sounds))]

    async def one_by_one() -> list[str]:
        return [(await transcriber.transcribe(one)).text for one in sounds]

    ways: dict[str, Way] = {ALONE: lambda: asyncio.run(one_by_one()), TOGETHER: lambda: asyncio.run(at_once())}
    return ways, transcriber.close


def theirs(given: list[Recorded], dtype: Any) -> dict[str, Way]:
    folder = pull("whisper-tiny.en")
    processor = WhisperProcessor.from_pretrained(folder)
    model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    listen = pipeline(
        "automatic-speech-recognition", model=model, tokenizer=processor.tokenizer,
        feature_extractor=processor.feature_extractor, dtype=getattr(torch, dtype),
    )  # fmt: skip

    def written(batch: int) -> list[str]:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            sounds = [one.samples.copy() for one in given]
            return [one["text"] for one in listen(sounds, batch_size=batch, return_timestamps=True)]

    return {"transformers, one by one": lambda: written(1), "transformers, 8 at once": lambda: written(FILES)}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--ours", action="store_true", help="leave transformers out")
    asked = arguments.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    real = recordings(models_folder().parent / "recordings")
    given = [concatenated([one for one in real if one.seconds < 8], SECONDS, seed, (0.2, 0.8)) for seed in range(FILES)]
    spoken = sum(one.seconds for one in given)
    print(f"{FILES} recordings, {spoken:.0f} s, {asked.dtype}, {torch.get_num_threads()} threads")
    ways, close = ours(given, asked.dtype)
    if not asked.ours:
        ways |= theirs(given, asked.dtype)
    total = sum(len(words(one.text)) for one in given)
    times: dict[str, list[float]] = {name: [] for name in ways}
    wrong: dict[str, int] = {}
    for way in ways.values():
        way()  # to warm up
    for _ in range(asked.rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            texts = way()
            times[name].append(time.perf_counter() - start)
            wrong[name] = sum(errors(one.text, text) for one, text in zip(given, texts, strict=True))
    close()
    for name, taken in times.items():
        seconds = median(taken)
        share = 100 * wrong[name] / total
        print(f"{name:26} {seconds:6.1f} s   factor {seconds / spoken:.3f}   {share:.1f} % of words wrong")
    print(f"8 at once against one by one: {compared(times, ALONE, TOGETHER)}")
    if not asked.ours:
        print(f"against transformers one by one: {compared(times, 'transformers, one by one', ALONE)}")
        print(f"against transformers 8 at once: {compared(times, 'transformers, 8 at once', TOGETHER)}")


def compared(times: dict[str, list[float]], slow: str, fast: str) -> str:
    """How many times as fast, round by round."""
    ratios = [one / other for one, other in zip(times[slow], times[fast], strict=True)]
    return f"× {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
