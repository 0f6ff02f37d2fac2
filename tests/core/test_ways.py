"""How what a turn shows reached the model: said once for each medium, and of many as a number."""

from __future__ import annotations

from collections.abc import Mapping

from tests.pictures import drawn, sound
from vllm_flow.core.descriptions import Described
from vllm_flow.core.events import Called, NodeDone, TurnDone
from vllm_flow.core.ledger import Ledger
from vllm_flow.core.media import Medium
from vllm_flow.core.messages import user
from vllm_flow.core.results import Result
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Prompt, Request, Turn
from vllm_flow.core.ways import Ways

CAT, SIGN, TALK = drawn("red", "cat.png"), drawn("blue", "sign.png"), sound("talk.wav")
BY = {"read": "rapidocr", "seen": "imagenet", "transcript": ""}


def show(ways: Ways, *media: Medium, words: Mapping[str, tuple[str, ...]] | None = None) -> None:
    turn, described = Turn("a", user("Well?", *media), number=1), Described(words or {}, by=BY)
    ways(NodeDone(turn, "described", described))
    prompt = Prompt(described.told((turn.message,)))
    for sample in (0, 1):
        request = Request(prompt, Schedule(Sampling()), sample=sample)
        ways(Called(turn, "reply", "engine", request, (), False, Ledger(())))
    ways(TurnDone(Result(turn), 0.1))


def test_each_medium_is_told_of_once_with_who_put_it_into_words() -> None:
    ways = Ways()
    show(ways, CAT, SIGN, TALK, words={
        SIGN.digest: ("read: OPEN", "seen: sign (82 %)"),
        TALK.digest: ("read: [this failed]", "transcript: Good morning."),
    })  # fmt: skip
    assert [*ways.lines()] == [
        "cat.png: read by the model itself",
        "sign.png: described (read: by rapidocr, seen: by imagenet)",
        "talk.wav: described (transcript)",
    ]
    show(ways, CAT)
    assert [*ways.lines()] == []
    show(ways, CAT, words={CAT.digest: ("seen: tabby",)})
    assert [*ways.lines()] == ["cat.png: described (seen: by imagenet)"]


def test_nothing_is_said_where_nothing_is_shown_and_of_what_nobody_described() -> None:
    ways = Ways()
    show(ways)
    show(ways, CAT, words={CAT.digest: ("[this picture could not be described]",)})
    assert [*ways.lines()] == []


def test_of_many_it_is_said_how_many() -> None:
    ways = Ways()
    for width in range(1, 5):
        show(ways, drawn(size=(width, 1)))
    show(ways, TALK, words={TALK.digest: ("transcript: Good morning.",)})
    assert [*ways.lines()] == ["4 pictures: read by the model itself", "1 recording: described (transcript)"]


def test_runs_that_go_on_at_once_are_told_apart() -> None:
    ways, turn, prompt = Ways(), Turn("a", user("Well?", CAT), number=1), Prompt((user("Well?"),))
    request, runs = Request(prompt, Schedule(Sampling())), ("imagenet", "mine")
    for run in runs:
        ways(NodeDone(turn, "described", Described({CAT.digest: ("seen: cat",)}, by={"seen": run})), run)
    for run in runs:
        ways(Called(turn, "reply", "engine", request, (), False, Ledger(())), run)
        ways(TurnDone(Result(turn), 0.1), run)
    assert [*ways.lines()] == [f"cat.png: described (seen: by {run})" for run in runs]
