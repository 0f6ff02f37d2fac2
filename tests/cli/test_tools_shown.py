"""Calls of tools at the screen: as they happen, and again when a record is shown."""

from __future__ import annotations

import pytest

from vllm_flow.cli.screen import Screen
from vllm_flow.core.events import TokenMade, ToolUsed, TurnDone, TurnStarted
from vllm_flow.core.messages import user
from vllm_flow.core.results import Result
from vllm_flow.core.tool_values import ToolCall, ToolResult
from vllm_flow.core.values import Completion, Finish, Token, Turn, Usage

TURN = Turn("c", user("Weather?"), number=1)
CALL = ToolCall("weather", {"place": "Oslo", "day": "today"})
DONE = Completion("It rains.", (1,), "stop", Usage(1, 1))


def show(screen: Screen, *before: str) -> None:
    screen(TurnStarted(TURN))
    for text in before:
        screen(TokenMade(TURN, "reply", 0, Token(0, text), live=True))
    screen(ToolUsed(TURN, "reply", CALL, None))
    screen(ToolUsed(TURN, "reply", CALL, ToolResult("weather", "Oslo:\nrain " + "and rain " * 20)))
    screen(TokenMade(TURN, "reply", 1, Token(1, "It rains.", None, Finish("stop", Usage(1, 1))), live=True))
    screen(TurnDone(Result(TURN, DONE), 0.1))


def test_a_call_is_shown_beside_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    show(Screen())
    said = capsys.readouterr()
    assert said.out == "It rains.\n"
    first, second = said.err.splitlines()
    assert first == "weather(place=Oslo, day=today)"
    assert second.startswith("  → Oslo: rain and rain ")
    assert len(second) == 104
    assert second.endswith("…")


def test_words_before_a_call_stand_on_a_line_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    show(Screen(), "I look. ")
    assert capsys.readouterr().out == "I look. \nIt rains.\n"


def test_json_has_results_alone(capsys: pytest.CaptureFixture[str]) -> None:
    show(Screen(as_json=True))
    said = capsys.readouterr()
    assert (said.err, said.out.count("\n")) == ("", 1)
