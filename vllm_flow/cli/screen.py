"""The screen: what a person sees while a run goes on.

Replies go to stdout, everything else to stderr, so that a pipe gets answers and nothing but answers. Tokens are shown
as they come for one conversation at a time; the others are printed whole when they are done.
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text

from vllm_flow.cli.ledger_shown import left_out_lines
from vllm_flow.cli.words import is_terminal, json_line, visible
from vllm_flow.core.events import Called, Event, NodeDone, TokenMade, ToolUsed, TurnDone, TurnStarted
from vllm_flow.core.ledger import Ledger
from vllm_flow.core.record_rows import result_row
from vllm_flow.core.results import Result
from vllm_flow.core.segments import LeftOut
from vllm_flow.core.values import Completion, Context, Prompt, Turn
from vllm_flow.core.ways import Ways

SHOWN_WHOLE = 20
"""After this many turns on a terminal only a count goes on; the replies are in the record."""

LINE = 100
"""Characters that are shown of a call, and of its result."""


class Screen:
    """Prints a run's events; an observer. With `as_json` one line per result, as in `results.jsonl`."""

    def __init__(self, *, as_json: bool = False, labels: bool = True) -> None:
        self.as_json = as_json
        self.failed = self.done = 0
        self._terminal = is_terminal(sys.stdout)
        self._out = Console(highlight=False, soft_wrap=True)
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)
        self._labels = labels and self._terminal
        self._focus: tuple[str, int | None] | None = None
        self._streamed = False
        self._waiting: list[Result] = []
        self._left_out: tuple[LeftOut, ...] = ()
        self.ledger: Ledger | None = None
        """Of the prompt that was answered last; of several in one turn, of that whose answer was shown."""
        self._live = False
        self._several = False
        self._first: str | None = None
        self._ways = Ways()

    def __call__(self, event: Event) -> None:
        self._ways(event)
        match event:
            case TurnStarted(turn):
                self._start(turn)
            case TokenMade(turn=turn, live=True) if _key(turn) == self._focus and not self.as_json:
                self._streamed = True
                self._write(event.token.text)
            case ToolUsed(turn=turn) if _key(turn) == self._focus and not self.as_json:
                self._say_tool(event)
            case NodeDone(turn, _, Context() as context) if _key(turn) == self._focus:
                self._left_out = context.left_out
            case NodeDone(turn, _, Prompt(ledger=Ledger() as ledger)) if _key(turn) == self._focus:
                self._left_out = ledger.left_out  # what the context left out among it
            case Called(turn, ledger=ledger, live=live) if _key(turn) == self._focus and (live or not self._live):
                self.ledger, self._live = ledger, live
            case TurnDone(result):
                self._finish(result)

    def stopped(self) -> None:
        """The person stopped the answer that was being shown."""
        self._focus = None
        self.status("\n(stopped; /retry answers again)")

    def say_ways(self) -> None:
        """How what was shown reached the model, as far as that was not said before."""
        for line in self._ways.lines():
            self.status(line)

    def status(self, text: str) -> None:
        """A line for the person, beside the answers."""
        self._err.print(Text(visible(text), style="dim"))

    def _start(self, turn: Turn) -> None:
        self._several = self._several or self._first not in (None, turn.conversation)
        self._first = self._first or turn.conversation
        if self._focus is None and not self._counting:
            self._focus, self._streamed, self._left_out, self._live = _key(turn), False, (), False
            self._say_question(turn)

    def _finish(self, result: Result) -> None:
        self.done += 1
        self.failed += result.failure is not None
        if self.as_json:
            print(json_line(result_row(result)), flush=True)
        elif _key(result.turn) == self._focus:
            self._say_answer(result)
            self._focus = None
            while self._waiting:
                self._whole(self._waiting.pop(0))
        elif self._focus is not None and not self._counting:
            self._waiting.append(result)
        elif not self._counting:
            self._whole(result)
        elif self._focus is None:  # else the count would come into the middle of an answer
            self._count()

    @property
    def _counting(self) -> bool:
        return self._terminal and self.done > SHOWN_WHOLE

    def _count(self) -> None:
        sys.stderr.write(f"\r{self.done} turns done, {self.failed} failed")
        sys.stderr.flush()

    def _whole(self, result: Result) -> None:
        self._streamed = False
        if result.failure is None or result.turn.number is not None:
            self._say_question(result.turn)
        self._say_answer(result)

    def _say_question(self, turn: Turn) -> None:
        if self._labels and not self.as_json:
            who = f"[{turn.conversation}] you" if self._several else "you"
            self._write(f"\n{who}  ", "bold cyan")
            self._write(f"{turn.message.shown}\n")
            self._write("reply  ", "bold green")

    def _say_tool(self, event: ToolUsed) -> None:
        """A line when it is called, and one when it has answered; then the answer goes on."""
        if event.result is None:
            self._write("\n" if self._streamed or self._labels else "")
            self._streamed = False
            given = ", ".join(f"{name}={value}" for name, value in event.call.arguments.items())
            self.status(f"{event.call.name}({_short(given)})")
            return
        self.status(f"  → {_short(event.result.text)}")
        if self._labels:
            self._write("reply  ", "bold green")

    def _say_answer(self, result: Result) -> None:
        if result.failure is not None:
            self._write("\n" if self._streamed else "")
            number, name = result.turn.number, result.turn.conversation
            place = f"turn {number} of {name} failed: " if number is not None else ""  # a bad row names its own place
            self.status(place + result.failure.message)
            return
        self._write("\n" if self._streamed else f"{result.text}\n")
        for line in left_out_lines(self._left_out):
            self.status(line)
        if isinstance(answer := result.value, Completion):
            if answer.parsed is not None and answer.parsed.problem is not None:
                self.status(f"({answer.parsed.problem})")
            elif answer.finish_reason == "length":
                self.status("(the answer was cut at sampling.max_tokens)")
        if result.stored:
            self.status("(this turn was answered before: the stored reply)")

    def _write(self, text: str, style: str = "") -> None:
        if self._terminal:
            self._out.print(Text(visible(text), style=style), end="")
        else:  # another program reads: every character as the model wrote it
            sys.stdout.write(text)
        sys.stdout.flush()


def _short(text: str) -> str:
    """In one line that fits most screens."""
    line = " ".join(text.split())
    return line if len(line) <= LINE else f"{line[: LINE - 1]}…"


def _key(turn: Turn) -> tuple[str, int | None]:
    return (turn.conversation, turn.number)
