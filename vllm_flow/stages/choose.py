"""Choosing: the model recommends, of what may be recommended, and says why.

It is held to the titles, place by place, so that it recommends nothing that is not there and nothing twice. The reasons
are its own words, one sentence each, and nobody checks them: they may say what no catalogue says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from vllm_flow.core.adapting import Adapted
from vllm_flow.core.catalogue import Catalogue, Offer
from vllm_flow.core.errors import EngineError
from vllm_flow.core.messages import assistant, user
from vllm_flow.core.options import OptionProblem, at_least
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Engine, EngineOptions
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.segments import Segment
from vllm_flow.core.shape import Parsed, Shape
from vllm_flow.core.shown import holding
from vllm_flow.core.spec import Path
from vllm_flow.core.template import Template
from vllm_flow.core.values import Completion, Prompt, Request, Usage
from vllm_flow.stages.asking import version_of
from vllm_flow.stages.cite import standing
from vllm_flow.stages.infer import advised, complete, one_answer, refused

WHY = "“{text}” Why does it fit what I asked for? Answer in one sentence."
"""With the text once more: of the sample, the embedded model made more up when only the title stood before it."""
NONE_LEFT = "There is nothing to recommend."
DOTTED = r"(?:Dr|Mrs?|Ms|St|[A-Z])\. ?|[0-9]\.[0-9]"
"""Where a dot is within a sentence: behind an abbreviation or an initial, and in a number."""
BEGIN, WITHIN, END = rf"(?:{DOTTED}|[^\s.!?。！？])", rf"(?:{DOTTED}|[^.!?。！？\n])", r"[.!?。！？]"
CUT = "…"
"""What a reason ends with that `sampling.max_tokens` cut off."""


@stage("recommend/choose")
@dataclass(frozen=True)
class Choose:
    """The best of the candidates, in order, chosen and explained by the model.

    The text has a line for each. As data it is `{"recommended": [{"id", "title", "reason"}, …]}`.
    """

    most: Annotated[int, at_least(1)] = 3
    """How many to recommend."""
    ranks: bool = True
    """Whether the model chooses and puts them in order; without, the candidates' own order stays."""
    why: str | None = WHY
    """What it is asked for a reason, with the offer's {title} or {text} in it; null: no reasons, and no questions."""
    longest: Annotated[int, at_least(20)] = 200
    """How many characters a reason may have."""

    def problems(self) -> Iterator[OptionProblem]:
        try:
            columns = Template.parse(self.why or "{title}").columns
        except ValueError as error:
            yield OptionProblem(("why",), str(error))
            return
        if not columns or {*columns} - {"title", "text"}:
            yield OptionProblem(("why",), "{title}, {text} or both have to be in it, and nothing else in braces.")

    def check(self, sampling: SamplingPlan, schedule: Schedule, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        yield from refused(sampling, schedule, engine)
        yield from one_answer(sampling, schedule, "recommend/choose")
        for shape, option in (
            ("choices", "ranks: false" * self.ranks),
            ("regex", "why: null" * (self.why is not None)),
        ):
            if option and shape not in engine.capabilities().shapes:
                yield (), f"the engine holds no answer to `{shape}`. Set `{option}`, or choose another engine."

    def advise(self, schedule: Schedule, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        yield from advised(schedule, engine)

    async def run(
        self,
        prompt: Prompt,
        schedule: Schedule,
        engine: Engine,
        catalogue: Catalogue,
        candidates: Segment,
        *,
        adapter: Adapted | None = None,
    ) -> Completion:
        there = candidates.items if prompt.ledger is None else standing(prompt.ledger, candidates)
        offers = [catalogue.offers[catalogue.place(one.source)] for one in there]
        request = Request(prompt, schedule, adapter=version_of(adapter))
        return await _Choosing(self, holding(engine, lambda *_: True), request).answer(offers)


class _Choosing:
    """The questions of one answer, each a sample of its own so that it draws for itself."""

    def __init__(self, options: Choose, engine: Engine, request: Request) -> None:
        self._options, self._engine, self._request = options, engine, request
        self._replies: list[Completion] = []

    async def answer(self, offers: Sequence[Offer]) -> Completion:
        chosen = await self._ranked(offers) if self._options.ranks else offers[: self._options.most]
        reasons = await self._reasons(chosen)
        rows = [{"id": one.id, "title": one.title, "reason": why} for one, why in zip(chosen, reasons, strict=True)]
        lines = (f"{place}. {_line(one, why)}" for place, (one, why) in enumerate(zip(chosen, reasons, strict=True), 1))
        cut = any(one.finish_reason == "length" for one in self._replies)
        return Completion(
            "\n".join(lines) or NONE_LEFT,
            (),
            "length" if cut else "stop",
            Usage(
                _sum(one.usage.prompt_tokens for one in self._replies),
                _sum(one.usage.completion_tokens for one in self._replies),
            ),
            parsed=Parsed({"recommended": rows}),
        )

    async def _ranked(self, offers: Sequence[Offer]) -> list[Offer]:
        """For each place the question is the same, and what is chosen already is no answer any more."""
        left, chosen = _called(offers), list[Offer]()
        while left and len(chosen) < self._options.most:
            name = next(iter(left)) if len(left) == 1 else await self._choice(tuple(left), len(chosen))
            chosen.append(left.pop(name))
        return chosen

    async def _choice(self, names: tuple[str, ...], sample: int) -> str:
        """Raises EngineError for an answer that was cut off."""
        reply = await self._ask(self._request.prompt, sample, Shape(choices=names))
        return str(reply.data)

    async def _reasons(self, chosen: Sequence[Offer]) -> Sequence[str | None]:
        if self._options.why is None:
            return [None] * len(chosen)
        try:
            async with asyncio.TaskGroup() as group:
                asked = enumerate(chosen, self._options.most)
                tasks = [group.create_task(self._reason(one, sample)) for sample, one in asked]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _reason(self, offer: Offer, sample: int) -> str:
        asked, template = self._request.prompt, Template.parse(self._options.why or "")
        said = (assistant(offer.title), user(template.fill({"title": offer.title, "text": offer.text})))
        sentence = rf"{BEGIN}{WITHIN}{{0,{self._options.longest - 2}}}{END}"
        reply = await self._ask(replace(asked, messages=(*asked.messages, *said)), sample, Shape(regex=sentence))
        return reply.text + CUT * (reply.finish_reason == "length")

    async def _ask(self, prompt: Prompt, sample: int, shape: Shape) -> Completion:
        if prompt.plain:
            raise EngineError("prompt: a plain prompt has no place for what is asked beside it. Use fuse/chat.")
        reply = await complete(self._engine, replace(self._request, prompt=prompt, sample=sample, shape=shape))
        self._replies.append(reply)
        return reply


def _called(offers: Sequence[Offer]) -> dict[str, Offer]:
    """What the model is to say for each: its title, with the id where two have the same."""
    titles = [one.title for one in offers]
    found = {one.title if titles.count(one.title) == 1 else f"{one.title} [{one.id}]": one for one in offers}
    return found if len(found) == len(offers) else {f"{one.title} [{one.id}]": one for one in offers}


def _line(offer: Offer, why: str | None) -> str:
    return offer.title if why is None else f"{offer.title}: {why}"


def _sum(counts: Iterable[int | None]) -> int | None:
    known = list(counts)
    return None if None in known else sum(one for one in known if one is not None)
