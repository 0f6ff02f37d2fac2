"""Every stage that comes with this package keeps the promises that a plugin's stage is held to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy
import pytest

from tests.listening import Listener, heard
from tests.pictures import KnowingReader, KnowingTagger, drawn
from vllm_flow.core.adapting import Adapted
from vllm_flow.core.catalogue import Catalogue, Offer
from vllm_flow.core.descriptions import Described, Descriptions, named
from vllm_flow.core.embedding import Kind
from vllm_flow.core.library import Library
from vllm_flow.core.likelihoods import Scored, TokenLikelihood
from vllm_flow.core.media import Audio
from vllm_flow.core.messages import Message, assistant, system, user
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Store
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.segments import Item, LeftOut, Segment, Share
from vllm_flow.core.shape import Parsed
from vllm_flow.core.transcripts import Transcripts
from vllm_flow.core.values import Completion, Context, Score, Turn, Usage
from vllm_flow.stages.adapt import Learned, Lora
from vllm_flow.stages.bandit import Bandit
from vllm_flow.stages.choose import Choose
from vllm_flow.stages.cite import Cited, Passage, Passages
from vllm_flow.stages.context import Facts, Full, Sink, Story, Summary, Update, Window
from vllm_flow.stages.context.recall import Bm25 as RecalledByWords
from vllm_flow.stages.context.recall import Retrieval
from vllm_flow.stages.deadline import Deadline, Measured
from vllm_flow.stages.describe import Ocr, Tags
from vllm_flow.stages.fuse import Chat, Plain
from vllm_flow.stages.fuse_media import Describe
from vllm_flow.stages.fuse_native import Native
from vllm_flow.stages.infer import Generate, Sample
from vllm_flow.stages.judge import Preference, Question, Rating, Verdict
from vllm_flow.stages.recommend import Candidates
from vllm_flow.stages.retrieve import Bm25, Dense
from vllm_flow.stages.schedule import FromSampling
from vllm_flow.stages.score import ByMetric, Compared, Continued, Given, Likelihood
from vllm_flow.stages.select import Best, Vote
from vllm_flow.stages.speech import Heard, Speech, Write, Written
from vllm_flow.stages.tools import WithTools
from vllm_flow.testing import (
    EchoEngine,
    FakeTools,
    FixedClock,
    MemoryStore,
    check_stage,
    completion,
    context,
    prompt,
    schedule,
    turn,
)

NEW, SAID = turn("And now?", number=2), completion("Well enough.")


def remembering() -> Store:
    """One answered turn, and a second that was begun."""
    store = MemoryStore()
    store.begin(turn("How are you?"))
    store.commit(turn("How are you?"), SAID, {"mood": "calm"})
    store.begin(NEW)
    return store


EARLIER = (user("How are you?"), assistant("Well enough."))
ASK: Mapping[str, Any] = {"prompt": prompt("to be"), "engine": EchoEngine}
ECHOED = replace(completion("to be"), usage=Usage(prompt_tokens=2, completion_tokens=2))
ECHOED_WITH_TOOLS = replace(ECHOED, usage=Usage(prompt_tokens=68, completion_tokens=2))
CLOCK, MOMENT = FixedClock(datetime(2026, 11, 28, tzinfo=UTC)), "2026-11-28T00:00:00+00:00"
TIMED = replace(
    schedule(max_tokens=18),
    keeps={"deadline": {"began": MOMENT, "asked": MOMENT, "seconds": 0.0, "tokens": 0}},
)
SURE = Scored((5,), (0.0,), (0.0,), (True,), 0)
SAME = Completion("perplexity over 1 tokens: static 1, longer context 1, adapted 1", (), "stop", Usage(None, None))
YIELDING = Share(priority=-10, overflow="oldest")
BEGUN = replace(YIELDING, first=1)
ROLLING = Context(EARLIER, state={"mood": "calm"}, share=replace(YIELDING, step=3))
NONE_KEPT = (LeftOut("history", "messages", 2, "no earlier turn is kept"),)
LIBRARY = Library.of((Item("Well, well.", "a.md:1"), Item("And what now?", "b.md:7")))


def _found(*items: Item) -> Segment:
    return Segment("retrieved", items, "Passages that may help:", "last", Share(overflow="last"))


class SameEmbedder:
    """Takes all texts for the same."""

    async def embed(self, texts: Sequence[str], kind: Kind = "passage", *, keep: bool = False, tenant: str = "") -> Any:
        return numpy.ones((len(texts), 1), dtype=numpy.float32)

    def describe(self) -> Mapping[str, Any]:
        return {}

    def close(self) -> None:
        pass


FOUND = _found(Item("And what now?", "1: b.md:7", 1.0))
SAME_FOUND = _found(Item("Well, well.", "1: a.md:1", 1.0))
BY_WORDS = _found(Item("And what now?", "1: b.md:7", 0.2544))
PICTURE = drawn()
SHOWN = Turn("a", Message("user", (PICTURE,)))
HIDDEN = Described(
    {PICTURE.digest: ("[this picture is not shown any more]",)},
    (LeftOut("media", "pictures", 1, f"{named(PICTURE)}: only the newest 0 pictures are shown"),),
)
SOUND = Audio("0" * 64, 16_000, 16_000, "a.mp3")
HEARD = Transcripts((heard(SOUND),))
OLDER = Item("User: How are you?\nAssistant: Well enough.", "turn 1", 1.0)
RECALLED = Segment("recalled", (OLDER,), "Said earlier in this conversation:", "last", Share(overflow="last"))
SHELF = Catalogue.of((Offer("w", "Whale", "The sea."),))
OFFERED = Segment(
    "candidates", (Item("The sea.", "w", 1.0),), "What can be recommended:", "last", Share(overflow="last")
)
RECOMMENDED = Completion(
    "1. Whale",
    (),
    "stop",
    Usage(0, 0),
    parsed=Parsed({"recommended": [{"id": "w", "title": "Whale", "reason": None}]}),
)
TRIED: list[tuple[Any, Mapping[str, Any], Any]] = [
    (Full(), {"turn": NEW, "store": remembering}, Context(EARLIER, state={"mood": "calm"})),
    (
        Window(turns=0),
        {"turn": NEW, "store": remembering},
        Context(state={"mood": "calm"}, left_out=NONE_KEPT, share=YIELDING),
    ),
    (Sink(), {"turn": NEW, "store": remembering}, Context(EARLIER, state={"mood": "calm"}, share=BEGUN)),
    *(
        (part(every=3), {"turn": NEW, "store": remembering, "engine": EchoEngine}, ROLLING)
        for part in (Summary, Facts, Story)
    ),
    (Update(), {"turn": NEW, "reply": SAID, "context": context(), "store": remembering}, None),
    (Chat("Be brief."), {"turn": NEW, "context": context("a", "b")}, prompt(system("Be brief."), "a", "b", "And now?")),
    (
        Retrieval(turns=0),
        {"turn": NEW, "store": remembering, "embedder": SameEmbedder},
        Context(state={"mood": "calm"}, segments=(RECALLED,)),
    ),
    (
        RecalledByWords(turns=0),
        {"turn": NEW, "store": remembering},
        Context(
            state={"mood": "calm"},
            left_out=(
                LeftOut(
                    "history", "messages", 2, "neither in the newest 0 turns nor among the 4 nearest to the question"
                ),
            ),
        ),
    ),
    (Dense(passages=1), {"turn": NEW, "library": LIBRARY, "embedder": SameEmbedder}, SAME_FOUND),
    (Candidates(), {"turn": NEW, "catalogue": SHELF, "embedder": SameEmbedder}, OFFERED),
    (Choose(why=None), {**ASK, "schedule": schedule(), "catalogue": SHELF, "candidates": OFFERED}, RECOMMENDED),
    (Bm25(passages=1), {"turn": turn("what?"), "library": LIBRARY}, BY_WORDS),
    (
        Passages(),
        {"reply": completion("So [1]."), "retrieved": FOUND},
        Cited("So [1].\n\n[1] b.md:7", (Passage(1, "b.md:7", 1.0, "And what now?", True),)),
    ),
    (
        Tags(),
        {"turn": SHOWN, "tagger": KnowingTagger(a=[("cat", 0.8)])},
        Descriptions("seen", {PICTURE.digest: "cat (80 %)"}),
    ),
    (Ocr(), {"turn": SHOWN, "reader": KnowingReader(a=[("Hi", 0.9)])}, Descriptions("read", {PICTURE.digest: "Hi"})),
    (
        Describe(),
        {"turn": SHOWN, "read": Descriptions("read", {PICTURE.digest: "Hi"})},
        Described({PICTURE.digest: ("read: Hi",)}),
    ),
    (Native(images=0), {"turn": SHOWN}, HIDDEN),
    (Speech(), {"turn": Turn("a", Message("user", (SOUND,))), "transcriber": Listener()}, HEARD),
    (Heard(), {"transcripts": HEARD}, Descriptions("transcript", {SOUND.digest: "This is a.mp3."})),
    (Write(), {"transcripts": HEARD}, Written("This is a.mp3.", HEARD.of)),
    (Plain(), {"turn": NEW}, replace(prompt("And now?"), plain=True)),
    (
        FromSampling({"top_k": 3}),
        {"sampling": SamplingPlan(Sampling(temperature=0)), "turn": NEW},
        schedule(temperature=0, top_k=3),
    ),
    (
        Bandit({"a": {"top_k": 3}, "b": {}}),
        {"sampling": SamplingPlan(), "turn": NEW, "context": context()},
        replace(schedule(top_k=3), turn=1, keeps={"bandit": {"chosen": "a", "times": {}, "rewards": {}}}),
    ),
    (Deadline(9.0, tokens_per_second=2.0), {"schedule": schedule(), "context": context(), "clock": CLOCK}, TIMED),
    (
        Measured(),
        {"schedule": TIMED, "reply": SAID, "clock": FixedClock(datetime(2026, 11, 28, 0, 0, 4, tzinfo=UTC))},
        replace(TIMED, keeps={"deadline": {**TIMED.keeps["deadline"], "seconds": 4.0, "tokens": 2}}),
    ),
    (WithTools(), {**ASK, "schedule": schedule(max_tokens=18), "tools": FakeTools(clock="9:30")}, ECHOED_WITH_TOOLS),
    (
        Generate(logprobs=True),
        {**ASK, "schedule": schedule()},
        replace(ECHOED, logprobs=(0.0, 0.0), likelihoods=(TokenLikelihood(0.0, 0.0, 0.0),) * 2, text_ends=(2, 5)),
    ),
    (Sample(), {**ASK, "schedule": schedule(n=2)}, (ECHOED, ECHOED)),
    (ByMetric("length/words", best=4), {"reply": SAID, "turn": NEW}, Score(0.0)),
    (Likelihood(), {"completion": completion("a b", logprobs=(-1.0, -3.0))}, Score(-2.0)),
    (
        Given(),
        {"turn": turn("to be"), "engine": EchoEngine},
        Scored(ECHOED.token_ids, (0.0, 0.0), (0.0, 0.0), (True, True), 0),
    ),
    (
        Continued(),
        {"turn": turn("to be"), "context": context("to be"), "engine": EchoEngine},
        Scored(ECHOED.token_ids, (0.0, 0.0), (0.0, 0.0), (True, True), 2),
    ),
    (Compared(), {"static": SURE, "longer": SURE, "adapted": SURE}, SAME),
    (Learned(), {"context": context(state={"adapter": {"version": "abc"}})}, Adapted("abc")),
    (
        Lora(loss="answers"),
        {"turn": NEW, "context": context("a", "b", state={"adapter": {"version": "abc"}}), "engine": EchoEngine},
        Adapted("abc"),
    ),
    (Vote(answer=r"\d"), {"candidates": tuple(map(completion, ("1", "2", "so 2")))}, completion("2")),
    (
        Question("Rate."),
        {"turn": NEW, "reply": completion("Well.")},
        prompt(system("Rate."), "Question:\nAnd now?\n\nAnswer:\nWell.\n\nYour rating of the answer:"),
    ),
    (Rating(), {"opinion": completion("4")}, Score(0.5)),
    (Verdict(), {"reply": completion("Better.\nVerdict: B")}, Preference("B", "Better.\nVerdict: B")),
    (Best(), {"candidates": (SAID, completion("a")), "scores": (Score(1), Score(2))}, completion("a")),
]
"""A stage, what it is given, and what it makes of that."""


@pytest.mark.parametrize(("part", "values", "made"), TRIED, ids=lambda one: type(one).__name__)
def test_every_stage_keeps_its_promises(part: Any, values: Mapping[str, Any], made: Any) -> None:
    assert check_stage(part, **values) == made


def test_no_stage_is_left_out() -> None:
    own = {entry.cls for entry in stage if entry.cls.__module__.startswith("vllm_flow.stages.")}
    assert own == {type(part) for part, _, _ in TRIED}
