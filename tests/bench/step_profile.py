"""Where the time of a decode step goes: SmolLM2 with 1, 8 and 32 greedy rows, and with the 128 sampled rows of the sweep.

    python tests/bench/step_profile.py [--dtype bfloat16] [option=value …]

Prints the median step of each case in milliseconds, and what share of all steps each part of the engine took. The parts
are timed in the engine's thread, around its own functions, and a part that calls another does not count it. Steps that
read prompts are left out. What no part names is Python between them; what lies between two steps is there too.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import yaml
from decode import STORY, asked, fresh, swept

from vllm_flow.core.resources import Engine
from vllm_flow.core.schedule import Course
from vllm_flow.core.values import Request
from vllm_flow.engines.transformers import cuts, drawing, engine, lean, loop, noise, row, sampler
from vllm_flow.engines.transformers.attention import Decode
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models import packed
from vllm_flow.models.pull import pull
from vllm_flow.models.spec import Model
from vllm_flow.stages.infer import complete

PARTS: dict[str, list[tuple[Any, str]]] = {
    "matrix products": [(packed.PackedLinear, "_then"), (packed.PackedLinear, "_with")],
    "attention": [(Decode, "attend")],
    "norms, rotary positions": [(lean, "normed"), (lean, "_turned"), (lean, "rope_of")],
    "the rest of the forward pass": [(lean.Lean, "__call__")],
    "logits: numbers, penalties, bans": [(drawing, "finite"), (drawing, "adjusted")],
    "sampling: order of tokens": [(cuts, "in_order")],
    "sampling: shares, cuts": [(cuts, "count_kept")],
    "sampling: noise": [(noise, "gumbel")],
    "sampling: the rest": [(sampler, "choose"), (drawing, "choose")],
    "schedules": [(Course, "next")],
    "schedules: their signals": [(drawing, "heard"), (drawing, "keep_surprises")],
    "text, stop strings": [(row.Row, "take")],
    "handing out": [(engine, "deliver")],
    "the loop": [(loop.Loop, "step")],
}


MOVES = {
    "temperature": {"linear": {"from": 1.0, "to": 0.3, "over": 64}},
    "top_p": {"cosine": {"from": 1.0, "to": 0.5, "over": 64}},
    "repetition_penalty": {"sum": [1.0, {"cyclic": {"low": 0.0, "high": 0.1, "period": 16}}]},
}
FOLLOWS = {"temperature": {"edt": {"t0": 1.0, "theta": 0.3}}, "top_p": 0.95}


class Stopwatch:
    """Seconds of each part, of one thread."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, dict[str, float]]] = []
        """Of each step that only decoded: when it began, and its parts."""
        self.parts: dict[str, float] = defaultdict(float)
        """Since it was last cleared."""
        self._inside: list[float] = []
        """For each part that is open, how long others have been open inside it."""

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            self._inside.append(0.0)
            started = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                took = time.perf_counter() - started
                self.parts[part] += took - self._inside.pop()
                if self._inside:
                    self._inside[-1] += took

        return call

    def stepping(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def call(running: Any) -> Any:
            only_decodes = not (running.waiting or running._prefill.rows)
            self.parts.clear()  # what was handed out since the last step is counted as time between two
            started = time.perf_counter()
            made = step(running)
            if only_decodes:
                self.steps.append((started, dict(self.parts)))
            return made

        return call


def watched(parts: Mapping[str, Sequence[tuple[Any, str]]]) -> Stopwatch:
    """Puts a stopwatch around every part."""
    watch = Stopwatch()
    for part, places in parts.items():
        for owner, name in places:
            setattr(owner, name, watch.timed(part, getattr(owner, name)))
    return watch


def stepping() -> Stopwatch:
    """One around every part of a step, and one around the step."""
    watch = watched(PARTS)
    loop.Loop.step = watch.stepping(loop.Loop.step)  # type: ignore[method-assign]
    return watch


def told(what: str, watch: Stopwatch) -> None:
    begins = [began for began, _ in watch.steps]
    lengths = [after - before for before, after in pairwise(begins)]
    middle = statistics.median(lengths)
    whole = [one for one, length in zip(watch.steps, lengths, strict=False) if length < 3 * middle]
    total = sum(length for length in lengths if length < 3 * middle)
    shares = {part: sum(parts.get(part, 0.0) for _, parts in whole) / total for part in PARTS}
    shares["between two steps, handing out with it"] = 1 - sum(shares.values())
    print(f"{what}: {1000 * middle:.1f} ms a step, {len(whole)} steps")
    for part, share in shares.items():
        if share >= 0.002:
            print(f"    {part:40} {100 * share:5.1f} % {1000 * share * total / len(whole):8.2f} ms")


def profiled(served: Engine, watch: Stopwatch, what: str, make: Callable[[], list[Request]]) -> None:
    async def all_at_once() -> None:
        await asyncio.gather(*(complete(served, request) for request in make()))

    asyncio.run(all_at_once())  # warms up
    watch.steps.clear()
    asyncio.run(all_at_once())
    told(what, watch)


def asked_for(about: str | None, rounds: int | None = None) -> tuple[Engine, int]:
    """The engine that the command line asks for, SmolLM2, and the rounds if they can be asked for; `rounds` if not."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("options", nargs="*", metavar="option=value", help="of the engine")
    given = parser.parse_args()
    options = {key: yaml.safe_load(value) for key, _, value in (one.partition("=") for one in given.options)}
    engine = Transformers(Model("smollm2", path=str(pull("smollm2"))), dtype=given.dtype, **options).open()
    return engine, getattr(given, "rounds", 0)


def moving(rows: int, how: Mapping[str, Any]) -> list[Request]:
    return [asked(fresh(STORY), seed, **how) for seed in range(rows)]


def main() -> None:
    served, _ = asked_for(__doc__)
    watch = stepping()
    for rows in (1, 8, 32):
        profiled(
            served,
            watch,
            f"{rows} greedy rows",
            lambda rows=rows: [asked(fresh(STORY), temperature=0) for _ in range(rows)],
        )
    profiled(served, watch, "32 sampled rows, 3 parameters that move", lambda: moving(32, MOVES))
    profiled(served, watch, "32 sampled rows, entropy steers", lambda: moving(32, FOLLOWS))
    profiled(served, watch, "128 sampled rows", swept)
    served.close()


if __name__ == "__main__":
    main()
