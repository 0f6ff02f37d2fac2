"""The screen of a long run at a terminal: after the first answers only a count goes on, and never inside an answer."""

from __future__ import annotations

import pytest

from vllm_flow.cli import screen as screens
from vllm_flow.core.events import TokenMade, TurnDone, TurnStarted
from vllm_flow.core.messages import user
from vllm_flow.core.results import Result
from vllm_flow.core.values import Completion, Token, Turn, Usage


def test_the_count_waits_for_the_answer_that_is_being_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screens, "is_terminal", lambda stream: True)
    screen = screens.Screen()
    slow, *others = (Turn(f"c{i}", user(f"question {i}"), number=1, index=i) for i in range(31))
    reply = Completion("so it is", (1, 2), "stop", Usage(2, 2))
    screen(TurnStarted(slow))
    screen(TokenMade(slow, "reply", 0, Token(1, "so "), live=True))
    for turn in others[:-1]:
        screen(TurnStarted(turn))
        screen(TurnDone(Result(turn, reply), 0.1))
    screen(TokenMade(slow, "reply", 0, Token(2, "it is"), live=True))
    assert capsys.readouterr() == ("\nyou  question 0\nreply  so it is", "")
    screen(TurnDone(Result(slow, reply), 0.1))
    shown = capsys.readouterr()
    assert (shown.out.count("reply  so it is\n"), shown.err) == (screens.SHOWN_WHOLE, "")
    screen(TurnDone(Result(others[-1], reply), 0.1))
    assert capsys.readouterr() == ("", "\r31 turns done, 0 failed")
