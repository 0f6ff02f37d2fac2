"""What every engine promises of shapes: those that its capabilities name it holds answers to, whatever it would say."""

from __future__ import annotations

from vllm_flow.core.errors import listed, nearest
from vllm_flow.core.shape import KINDS, Shape
from vllm_flow.testing.compare import require, same
from vllm_flow.testing.trial import Trial, all_of

TOKENS = 48
"""Enough for each of these, a byte at a time."""
SMALL = {
    "type": "object",
    "properties": {"fine": {"type": "boolean"}, "count": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["fine", "count"],
}
SHAPES = {
    "schema": Shape.of_schema(SMALL),
    "choices": Shape(choices=("left", "right", "straight on")),
    "regex": Shape(regex="[a-f]{2}-[0-9]{3}"),
}


async def answers_have_the_shapes_that_it_names(trial: Trial) -> None:
    """Alone, and beside answers without one or with another."""
    for kind in sorted(trial.can.shapes - set(KINDS)):
        what = f"capabilities names the shape '{kind}', which is none.{nearest(kind, KINDS)}"
        raise AssertionError(f"{what} There are: {listed(KINDS)}.")
    shapes = [SHAPES[kind] for kind in KINDS if kind in trial.can.shapes]
    if not shapes:
        return
    prompt = trial.prompts[0]
    requests = [trial.request(prompt, max_tokens=TOKENS, shape=shape, seed=seed) for shape in shapes for seed in (1, 2)]
    company = [trial.answer(one) for one in (*requests, trial.request(prompt))]
    for request, together in zip(requests, await all_of(company), strict=False):
        alone = await trial.answer(request)
        for answer in (alone, together):
            problem = answer.parsed.problem if answer.parsed is not None else "it was not looked at"
            require(problem is None, f"of {request.shape}: {problem}")
            same("its finish_reason", answer.finish_reason, "stop")
