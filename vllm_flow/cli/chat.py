"""`vllm-flow chat`: a pipeline, talked with: a session, as Python has it, with a screen that watches.

Ctrl-C stops the answer, never the conversation: what had been said is kept as interrupted, and `/retry` asks again.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from vllm_flow.cli.progress import loading_shown
from vllm_flow.cli.screen import Screen
from vllm_flow.cli.slash import Slash
from vllm_flow.cli.words import is_terminal, kept_in_a_file, take_flags
from vllm_flow.core.errors import ConfigError, Fault, FlowError, listed
from vllm_flow.core.files import new_folder
from vllm_flow.core.media import Medium
from vllm_flow.core.messages import user
from vllm_flow.core.resources import Store
from vllm_flow.core.results import TurnFailed
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Turn
from vllm_flow.session import Session

HELP = """usage: vllm-flow chat [-c [NAME]] [key=value ...]

Talk with a pipeline (pipeline=dialogue unless you choose another). Conversations are kept in
outputs/conversations.sqlite unless you choose store=memory.

  -c, --continue   go on with the last conversation, or with the one that is named (see `vllm-flow context ls`)

In the chat: Ctrl-C stops the answer; Ctrl-D or /bye leaves; /help lists the commands.
"""
NO_JOB = (
    "a chat is no job of Hydra's, so nothing would read this. Leave it out; the record goes to outputs/runs of the "
    "folder in which the chat is started."
)
HALF = re.compile("[\ud800-\udfff]")
FLAGS = {"-c": "continue", "--continue": "continue", "-h": "help", "--help": "help"}


def main(arguments: list[str]) -> int:
    flags, words = take_flags(arguments, FLAGS)
    if "help" in flags:
        print(HELP, end="")
        return 0
    names = [word for word in words if "=" not in word and not word.startswith("~")] if "continue" in flags else []
    if len(names) > 1:
        raise ConfigError([Fault("chat -c", f"{len(names)} conversations are named. Name one.", "command line")])
    os.umask(0o077)
    overrides = kept_in_a_file([word for word in words if word not in names])
    spec = compose_chat(overrides)
    folder = new_folder(Path.cwd() / "outputs" / "runs", f"{spec.name}-chat")
    screen = Screen(labels=False)
    with Session(spec, record=folder, observers=[screen], compose=compose_chat, overrides=overrides) as session:
        Chat(session, screen).talk(go_on="continue" in flags, name=names[0] if names else None)
    return 0


def compose_chat(overrides: Sequence[str]) -> RunSpec:
    """The spec of a chat: the turns come from a person, so there is no input."""
    from vllm_flow.config import compose

    unread = [word.partition("=")[0].lstrip("+~") for word in overrides]
    if faults := [Fault(key, NO_JOB, "command line") for key in unread if key.startswith("hydra")]:
        raise ConfigError(faults)
    return replace(compose(overrides), input={})


class Chat:
    """One conversation at the terminal."""

    def __init__(self, session: Session, screen: Screen) -> None:
        self.session = session
        self.screen = screen
        self.conversation = f"chat-{uuid4().hex[:8]}"
        self.feedback: float | None = None
        """What is thought of the last answer, and not said to the pipeline yet."""
        self.remember: dict[str, str | None] = {}
        """What is to be remembered or forgotten, and not said to the pipeline yet."""
        self.shown: list[Medium] = []
        """What is to be seen and heard, and was not said anything about yet."""
        self._commands = Slash(self)

    def talk(self, *, go_on: bool, name: str | None = None) -> None:
        """Read lines until the person leaves. `go_on` with the conversation of that name, or the last one."""
        with loading_shown():
            self.session.open()
        if go_on:
            self._go_on(name)
        if is_terminal(sys.stdin):
            self.screen.status("Type a line. Ctrl-C stops an answer, /help lists commands, /bye leaves.")
        self._read_lines()
        if self.feedback is not None:
            self.screen.status("What you thought of the last answer was followed by nothing you said, and is not kept.")
        if self.remember:
            what = f"What was to be remembered ({listed(self.remember)})"
            self.screen.status(f"{what} was followed by nothing you said, and is not kept.")
        if self.shown:
            what = " ".join(medium.shown for medium in self.shown)
            self.screen.status(f"{what} was followed by nothing you said, and is not kept.")
        self.screen.status(f"Conversation {self.conversation}; `vllm-flow chat -c` goes on with it.")

    @property
    def store(self) -> Store | None:
        """The open store, or None when the pipeline remembers nothing."""
        store = self.session.opened("store")
        return store if isinstance(store, Store) else None

    def answer(self, turn: Turn) -> None:
        """Answer one turn. Ctrl-C while it runs stops this answer alone."""
        try:
            self.session.run(turn)
        except TurnFailed:
            pass  # the screen has said so
        except KeyboardInterrupt:
            self.screen.stopped()
        self.screen.say_ways()

    def set(self, override: str) -> None:
        """Change the configuration and go on. Raises ConfigError, and changes nothing, when it has faults."""
        with loading_shown():
            self.session.set(override)

    def _go_on(self, name: str | None) -> None:
        last = (name or self.store.last_conversation()) if self.store else None
        if last is None or self.store is None:
            raise FlowError("chat -c: no conversation is stored here yet. Start one with `vllm-flow chat`.")
        count = len(self.store.turns(last))
        if not count:
            raise FlowError(f"chat -c {last}: nothing is said in it. `vllm-flow context ls` lists what there is.")
        self.conversation = last
        self.screen.status(f"Going on with {last}, {count} turn{'' if count == 1 else 's'} so far.")

    def _read_lines(self) -> None:
        asking = is_terminal(sys.stdin)
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")  # a line that cannot be read costs that line
        if asking:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401  line editing and history, where the system has it
        while True:
            try:
                line = input("\nyou  " if asking else "").strip()
            except EOFError:
                if asking:
                    self.screen.status("")  # Ctrl-D leaves the cursor behind the prompt
                return
            except KeyboardInterrupt:
                self.screen.status("\n(Ctrl-D or /bye leaves)")
                continue
            if line.startswith("/"):
                if not self._command(line):
                    return
            elif not line.isprintable() and HALF.search(line):
                self.screen.status(f"this line is not {sys.stdin.encoding}. Send it in that encoding.")
            elif line:
                feedback, self.feedback = self.feedback, None
                remember, self.remember = self.remember, {}
                shown, self.shown = self.shown, []
                said = user(line, *shown)
                self.answer(Turn(self.conversation, said, feedback=feedback, remember=remember))

    def _command(self, line: str) -> bool:
        """Run a `/command`. Returns whether to go on."""
        try:
            return self._commands.run(line)
        except FlowError as error:
            self.screen.status(str(error))
        except KeyboardInterrupt:
            self.screen.status("\n(stopped)")
        return True
