"""Fusers: turn what is known and what was just said into one prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from vllm_flow.core.descriptions import Described
from vllm_flow.core.errors import listed, nearest
from vllm_flow.core.fitting import Room, fitted
from vllm_flow.core.layout import QUESTION, SYSTEM, Layout
from vllm_flow.core.ledger import ORDER, TOOLS
from vllm_flow.core.measuring import measuring
from vllm_flow.core.options import ChangesOf, OptionProblem, at_least
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Engine, EngineOptions
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.segments import Segment, Share
from vllm_flow.core.spec import Path
from vllm_flow.core.tool_room import with_room
from vllm_flow.core.tool_values import ToolSpec
from vllm_flow.core.tools import ToolOptions, Tools
from vllm_flow.core.values import Context, Prompt, Turn, nothing

WHOLE = (SYSTEM, QUESTION)
"""Of these nothing goes but what is cut."""


@stage("fuse/chat")
@dataclass(frozen=True)
class Chat:
    """System message, what there is to know, earlier messages, and the turn, within a budget of tokens.

    Segments that stand first follow the system's text; those that stand last come before the question, in the user's
    message. Each has the share of the prompt that it brings along; `shares` says otherwise. Media stand where they
    stood in their messages, as they are, or in words where `fuse/describe` has made a value `described`.
    """

    system: str | None = None
    """Stands before everything else; null adds none (a model's own template may still do so)."""
    budget: Annotated[int | None, at_least(1)] = None
    """How many tokens the prompt may have; null: as many as the model reads, less `sampling.max_tokens`."""
    shares: Mapping[str, Annotated[Mapping[str, Any], ChangesOf(Share)]] = field(default_factory=nothing)
    """By segment: most, least, priority, overflow, step, first. `history: {overflow: oldest}` lets old turns go.

    `tools: {least: 300}` keeps so many for what is said of tools that are `offered`, and for what they give.
    """

    def problems(self) -> Iterator[OptionProblem]:
        for name in WHOLE:
            if (how := self.shares.get(name, {}).get("overflow", "error")) not in ("error", "cut"):
                problem = f"the {name} has no items of which '{how}' could go. Choose error or cut."
                yield OptionProblem(("shares", name, "overflow"), problem)

        for key in sorted(set(self.shares.get(TOOLS, {})) - {"least"}):
            yield OptionProblem(
                ("shares", TOOLS, key), "of tools nothing can go. Only `least` is theirs: the room kept."
            )

    def check(
        self, engine: EngineOptions | None = None, *, offered: ToolOptions | None = None
    ) -> Iterator[tuple[Path, str]]:
        if offered is None and TOOLS in self.shares:
            yield (), "`shares.tools`: no tools are known here. Add `from: {offered: tools}`, or leave it out."
        if engine is not None and engine.capabilities().measures:
            return
        limits = [f"shares.{name}.most" for name, share in self.shares.items() if share.get("most") is not None]
        limits += ["shares.tools.least"] if self._kept_for_tools else []
        for name in (*(["budget"] if self.budget is not None else []), *limits):
            why = (
                "the engine cannot count the tokens of a prompt" if engine else "there is no engine to count the tokens"
            )
            yield (), f"`{name}`: {why}. Leave it out, or choose another engine, such as engine=transformers."

    def advise(self) -> Iterator[tuple[Path, str]]:
        for name in self.shares:
            if name not in ORDER:
                there = f"There are: {listed(ORDER)}, and what a project's own stages call theirs."
                yield (), f"`shares.{name}`: no segment of ours has this name.{nearest(name, ORDER)} {there}"

    def run(
        self,
        turn: Turn,
        context: Context,
        *,
        engine: Engine | None = None,
        schedule: Schedule | None = None,
        offered: Tools | None = None,
        facts: Segment | None = None,
        documents: Segment | None = None,
        retrieved: Segment | None = None,
        summary: Segment | None = None,
        story: Segment | None = None,
        described: Described | None = None,
    ) -> Prompt:
        described = described or Described({})
        given = (facts, documents, retrieved, summary, story)
        segments = (*(one for one in given if one is not None), *context.segments)
        (question,) = described.told((turn.message,))
        history = (described.told(context.messages), context.share)
        layout = Layout.of(self.system, history, segments, question, self._shared)
        room = None if engine is None else self._room(engine, schedule)
        prompt = self._fitted(layout, engine, room, () if offered is None else offered.specs())
        before = (*context.left_out, *described.left_out, *(out for one in segments for out in one.left_out))
        if prompt.ledger is None or not before:
            return prompt
        return replace(prompt, ledger=replace(prompt.ledger, left_out=(*before, *prompt.ledger.left_out)))

    @property
    def _kept_for_tools(self) -> int:
        return int(self.shares.get(TOOLS, {}).get("least", 0))

    def _shared(self, name: str, share: Share) -> Share:
        return replace(share, **self.shares[name]) if name in self.shares else share

    def _fitted(self, layout: Layout, engine: Engine | None, room: Room | None, specs: tuple[ToolSpec, ...]) -> Prompt:
        limited = [block.name for block in layout.blocks if block.share.most is not None]
        yielding = any(block.share.overflow != "error" for block in layout.blocks)
        if self.budget is None and not limited and (room is None or not (yielding or self._kept_for_tools)):
            return layout.laid().prompt  # nothing to allot: should it be too long, the engine says so
        return fitted(layout, with_room(measuring(engine).measure, specs, self._kept_for_tools), room)

    def _room(self, engine: Engine, schedule: Schedule | None) -> Room | None:
        reads = engine.describe().get("context_length")
        answer = 0 if schedule is None else schedule.at(0).max_tokens
        if not isinstance(reads, int) or (self.budget is not None and self.budget <= reads - answer):
            return None if self.budget is None else Room(self.budget, f"the budget is {self.budget}")
        of_answer = f", {answer} of them for the answer" if answer else ""
        return Room(reads - answer, f"the model reads {reads}{of_answer}")


@stage("fuse/plain")
@dataclass(frozen=True)
class Plain:
    """The turn's text as it stands, for the model to go on with: no chat template, no memory.

    Messages that came with the turn stand before it, each on a line of its own.
    """

    def run(self, turn: Turn) -> Prompt:
        return Prompt((*turn.history, turn.message), plain=True)
