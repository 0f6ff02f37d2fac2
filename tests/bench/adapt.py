"""What learning while reading is worth: perplexity of documents that no model has seen, against a longer context.

    python tests/bench/adapt.py [--document readme] [--tokens 3072] [--piece 256] [--learning-rate 0.002] [--passes 2]

Each document is read in pieces. A piece is scored before anything is learned from it: by itself (static), after as many
tokens of the document as `context` says, by itself with an adapter that has learned all pieces before it (LoRA), and both.
The same tokens are scored in every way; those of the first piece, before which there is nothing, do not count. Seconds
are what all threads together computed to read the document in that way, learning included: they depend little on what
else the machine does.

The documents: this project's README, the source of its core, and a chronicle in a made-up world that is drawn from
sentences here, and therefore repeats itself more than a chronicler would. The options were chosen on --document tests.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Iterator
from math import exp
from pathlib import Path
from typing import Any

from vllm_flow.core import plugins
from vllm_flow.core.adapting import AdaptRequest, Lesson, Tuning
from vllm_flow.core.moving import Moving
from vllm_flow.core.options import build
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models.pull import pull
from vllm_flow.models.spec import Model

ROOT = Path(__file__).parents[2]
NAMES = [
    "Tessaly Ombrick",
    "Dorrin Hask",
    "Quill Averday",
    "Mother Sarn",
    "the younger Vetch",
    "Ishbel Corrowan",
    "old Pellam Drue",
]
PLACES = [
    "Port Sarrel",
    "the Morrowvane",
    "Old Quillon",
    "the salt court",
    "Nether Hythe",
    "the glass stairs",
    "Ember Weir",
]
THINGS = [
    "vell nuts",
    "green oil",
    "seven bells of salt",
    "a letter without a seal",
    "two blind herons",
    "the tide book",
]
DEEDS = [
    "{a} brought {t} from {p} to {q}, and {b} wrote it down.",
    "At the hour of the grey bell {a} was seen in {p} with {t}.",
    "Nobody in {p} would say what {a} had paid {b} for {t}.",
    "The water stood {n} spans high in {p}; {a} slept in {q}.",
    "{a} and {b} went to law over {t}, as their mothers had in {q}.",
    "It is told in {p} that {t} came by the {n}th boat, which {a} denies.",
    "That year {b} was warden of {p}, and {a} carried the keys of {q}.",
    "{a} swore by the grey bell never to enter {p} again, and entered it on the {n}th day.",
]


def chronicle() -> str:
    draw = random.Random(6)
    years = []
    for year in range(301, 360):
        said = []
        for deed in draw.sample(DEEDS, 5):
            (a, b), (p, q) = draw.sample(NAMES, 2), draw.sample(PLACES, 2)
            line = deed.format(a=a, b=b, p=p, q=q, t=draw.choice(THINGS), n=draw.randint(4, 40))
            said.append(line[0].upper() + line[1:])
        years.append(f"In the year {year} of the Count. " + " ".join(said))
    return "\n\n".join(years)


def source(folder: str) -> str:
    return "\n\n".join(path.read_text("utf-8") for path in sorted((ROOT / folder).glob("*.py")))


DOCUMENTS: dict[str, Any] = {
    "readme": lambda: (ROOT / "README.md").read_text("utf-8"),
    "source": lambda: source("vllm_flow/core"),
    "chronicle": chronicle,
    "tests": lambda: source("tests/session"),
}


class Way:
    """One way to read a document."""

    def __init__(self, engine: Any, how: Tuning | None, context: int) -> None:
        self.engine, self.how, self.context = engine, how, context
        self.tenant = str(context)
        """Each way learns for itself: equal lessons of one tenant are learned once."""
        self.logprobs: list[float] = []

    async def read(self, ids: list[int], piece: int, begin: int) -> float:
        """Seconds that all threads computed."""
        started, adapted = time.process_time(), None
        for start in range(0, len(ids), piece):
            mine = tuple(ids[start : start + piece])
            before = (begin, *ids[max(0, start - self.context) : start])
            scored = await self.engine.score(before, mine, adapter=adapted.version if adapted else None)
            self.logprobs += scored.logprobs if start else ()
            if self.how is not None and start + piece < len(ids):
                adapted = await self.engine.adapt(
                    AdaptRequest((Lesson((begin,), mine),), self.how, adapted, tenant=self.tenant)
                )
        return time.process_time() - started

    @property
    def perplexity(self) -> float:
        return exp(-sum(self.logprobs) / len(self.logprobs))


def ways(engine: Any, how: Tuning, whole: int) -> Iterator[tuple[str, Way]]:
    yield "static", Way(engine, None, 0)
    yield "context 512", Way(engine, None, 512)
    yield f"context {whole}", Way(engine, None, whole)
    yield "LoRA", Way(engine, how, 0)
    yield "LoRA, context 512", Way(engine, how, 512)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--document", choices=[*DOCUMENTS], action="append")
    parser.add_argument("--tokens", type=int, default=3072)
    parser.add_argument("--piece", type=int, default=256)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=0.002)
    parser.add_argument(
        "--to", type=float, help="the learning rate falls to this within the steps of a piece, as a cosine"
    )
    parser.add_argument("--targets", nargs="*", default=())
    parser.add_argument("--way", action="append", help="one of those that are printed; all without it")
    given = parser.parse_args()
    plugins.load_built_in()
    rate: Any = given.learning_rate
    if given.to is not None:
        rate = {"cosine": {"from": given.learning_rate, "to": given.to, "over": 1, "by": "progress"}}
    options = {"rank": given.rank, "alpha": 2.0 * given.rank, "passes": given.passes, "learning_rate": rate}
    how = build(Tuning, {**options, "targets": tuple(given.targets), "step_tokens": given.piece})
    assert isinstance(how.moving, Moving)
    engine: Any = Transformers(Model("smollm2", path=str(pull("smollm2")))).open()
    begin, text_ids = engine._loaded.renderer.begin, engine._loaded.renderer.text_ids
    for name in given.document or ("readme", "source", "chronicle"):
        ids = text_ids(DOCUMENTS[name]())[: given.tokens]
        print(f"{name}: {len(ids)} tokens in pieces of {given.piece}", flush=True)
        for label, way in ways(engine, how, given.tokens):
            if given.way is None or label in given.way:
                seconds = asyncio.run(way.read(ids, given.piece, begin))
                print(f"  {label:18} perplexity {way.perplexity:8.2f}   {seconds:6.1f} s", flush=True)
    engine.close()


if __name__ == "__main__":
    main()
