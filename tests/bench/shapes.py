"""What holding answers to shapes costs: of a decode step of SmolLM2 with 32 rows, and before the first token.

    python tests/bench/shapes.py [--dtype bfloat16] [option=value …]

Prints the median step of 32 sampled rows of no shape, of one schema and of 32 schemas, and the share of the steps that
shapes take: finding out what may come, going on with what came, and leaving the rest out of the logits. Timed as
step_profile.py does it. Then how long a tokenizer, a schema and a second answer of it take to begin.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from decode import STORY, asked, fresh
from step_profile import PARTS, asked_for, profiled, stepping

from vllm_flow.core.shape import Shape
from vllm_flow.core.values import Request
from vllm_flow.engines.shaping import Shapes, Shaping, hf_tokenizer
from vllm_flow.engines.transformers import drawing

OF_SHAPES: dict[str, list[tuple[Any, str]]] = {
    "shapes: what may come": [(Shaping, "look")],
    "shapes: going on": [(Shaping, "take")],
    "shapes: left out of the logits": [(drawing, "shaped")],
}
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 40},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "height": {"type": "number", "minimum": 0.3, "maximum": 2.5},
        "born": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
        "says": {"type": "string"},
        "likes": {"type": "array", "items": {"enum": ["dogs", "cats", "the sea", "books"]}, "maxItems": 3},
    },
    "required": ["name", "age", "height", "born", "says", "likes"],
}
PEOPLE = {"type": "array", "items": PERSON, "minItems": 20}
"""Too many for the tokens that there are: no row ends before the others."""


def shaped(shape: Callable[[int], Shape | None]) -> list[Request]:
    return [replace(asked(fresh(STORY), row), shape=shape(row)) for row in range(32)]


def beginning(tokenizer: Any) -> None:
    """Prints how long it takes, in milliseconds."""
    shapes = Shapes(hf_tokenizer(tokenizer, len(tokenizer), {tokenizer.eos_token_id}))
    for what, schema in (
        ("the first schema, the tokenizer with it", PEOPLE),
        ("another schema", PERSON),
        ("again", PERSON),
    ):
        started = time.perf_counter()
        shapes.begin(Shape.of_schema(schema)).look()
        print(f"{what:45} {1000 * (time.perf_counter() - started):8.2f} ms")


def main() -> None:
    served, _ = asked_for(__doc__)
    PARTS.update(OF_SHAPES)
    watch = stepping()
    one = Shape.of_schema(PEOPLE)
    many = [Shape.of_schema({**PEOPLE, "minItems": 20 + row}) for row in range(32)]
    profiled(served, watch, "32 sampled rows of no shape", lambda: shaped(lambda _: None))
    profiled(served, watch, "32 sampled rows of one schema", lambda: shaped(lambda _: one))
    profiled(served, watch, "32 sampled rows of 32 schemas", lambda: shaped(lambda row: many[row]))
    beginning(served._loaded.renderer._tokenizer)  # type: ignore[attr-defined]
    served.close()


if __name__ == "__main__":
    main()
