"""How fast speech is written down: eight recordings of half a minute, at once and one by one, beside transformers.

    python tests/bench/speech.py [--dtype float32|bfloat16] [--repeats N]

Times are of the same run on the same machine, and the fastest of N counts. A real-time factor is the time that it took
over the time that was spoken. Needs the package index, for the weights and for the recordings.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
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

FILES, SECONDS = 8, 22.0
"""With the sentence that they end in, they last less than the 30 seconds that the model hears at once."""


def fastest(repeats: int, work: Callable[[], Any]) -> tuple[float, Any]:
    best, found = float("inf"), None
    for _ in range(repeats):
        start = time.perf_counter()
        found = work()
        best = min(best, time.perf_counter() - start)
    return best, found


def ours(given: list[Recorded], dtype: Any, repeats: int) -> dict[str, tuple[float, list[str]]]:
    transcriber = Whisper(package="whisper-tiny.en", dtype=dtype, remembered=0).open()
    sounds = [recording(one.samples, one.name) for one in given]

    async def at_once() -> list[str]:
        return [one.text for one in await asyncio.gather(*(transcriber.transcribe(one) for one in sounds))]

    async def one_by_one() -> list[str]:
        return [(await transcriber.transcribe(one)).text for one in sounds]

    try:
        asyncio.run(one_by_one())
        return {
            "vllm-flow, one by one": fastest(repeats, lambda: asyncio.run(one_by_one())),
            "vllm-flow, 8 at once": fastest(repeats, lambda: asyncio.run(at_once())),
        }
    finally:
        transcriber.close()


def theirs(given: list[Recorded], dtype: Any, repeats: int) -> dict[str, tuple[float, list[str]]]:
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

    return {
        "transformers, one by one": fastest(repeats, lambda: written(1)),
        "transformers, 8 at once": fastest(repeats, lambda: written(FILES)),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    arguments.add_argument("--repeats", type=int, default=3)
    asked = arguments.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    real = recordings(models_folder().parent / "recordings")
    given = [concatenated([one for one in real if one.seconds < 8], SECONDS, seed, (0.2, 0.8)) for seed in range(FILES)]
    spoken = sum(one.seconds for one in given)
    print(f"{FILES} recordings, {spoken:.0f} s, {asked.dtype}, {torch.get_num_threads()} threads")
    found = ours(given, asked.dtype, asked.repeats) | theirs(given, asked.dtype, asked.repeats)
    total = sum(len(words(one.text)) for one in given)
    for name, (seconds, texts) in found.items():
        wrong = sum(errors(one.text, text) for one, text in zip(given, texts, strict=True))
        print(
            f"{name:26} {seconds:6.1f} s   factor {seconds / spoken:.3f}   {100 * wrong / total:.1f} % of words wrong"
        )
    alone, batch = (found[f"vllm-flow, {name}"][0] for name in ("one by one", "8 at once"))
    print(f"8 at once against one by one: × {alone / batch:.2f}")
    print(f"against transformers: × {found['transformers, one by one'][0] / alone:.2f} one by one, "
          f"× {found['transformers, 8 at once'][0] / batch:.2f} at once")  # fmt: skip


if __name__ == "__main__":
    main()
