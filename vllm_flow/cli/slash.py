"""What a person can type in the chat besides talking: the commands that start with a slash."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from vllm_flow.cli.ledger_shown import ledger_lines
from vllm_flow.core.archive import Archive
from vllm_flow.core.errors import EngineError, FlowError, listed, nearest
from vllm_flow.core.files import replaced
from vllm_flow.core.media import A_KIND
from vllm_flow.core.messages import Message
from vllm_flow.core.resources import Store
from vllm_flow.core.values import Prompt
from vllm_flow.inputs.shown import MISSING, as_rows_say
from vllm_flow.stages.context import Facts, said
from vllm_flow.stages.context.facts import remembered
from vllm_flow.stages.context.notes import same
from vllm_flow.stores.words import Query

if TYPE_CHECKING:
    from vllm_flow.cli.chat import Chat

HELP = {
    "help": "/help                              this list",
    "set": "/set sampling.temperature 0.3      change a value and go on",
    "context": "/context                           what the last prompt was made of, and what the conversation holds",
    "undo": "/undo                              take the last turn back",
    "fork": "/fork [3]                          go on in a copy, up to turn 3 or whole; this one stays as it is",
    "title": "/title The rain in Spain           call the conversation so",
    "search": "/search rain                       messages with all the words, of all conversations",
    "retry": "/retry                             another answer to the last turn",
    "good": "/good                              the last answer was good: schedules may follow it",
    "bad": "/bad                               the last answer was bad",
    "image": "/image cat.png                     show a picture with the next thing you say; /image - takes it back",
    "audio": "/audio talk.wav                    let it be heard with the next thing you say; /audio - takes it back",
    "remember": "/remember city=Oslo                remember a fact from the next thing you say on",
    "forget": "/forget city                       forget it",
    "facts": "/facts                             what is remembered",
    "save": "/save FILE                         write the conversation as a row of jsonl",
    "bye": "/bye                               leave",
}
FOUND = 20
"""Messages that a search shows."""


class Slash:
    """The chat's commands. Each raises FlowError, in one line, when it cannot do what was asked."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat

    def run(self, line: str) -> bool:
        """Run one command line. Returns False when the person leaves."""
        name, _, rest = line[1:].partition(" ")
        if name not in HELP:
            raise FlowError(f"/{name}: there is no such command.{nearest(name, HELP)} Commands: {listed(HELP)}.")
        if name == "bye":
            return False
        getattr(self, name)(rest.strip())
        return True

    def help(self, rest: str) -> None:
        self.chat.screen.status("\n".join(HELP.values()))

    def set(self, rest: str) -> None:
        key, _, value = rest.replace("=", " ", 1).partition(" ")
        if not key or not value.strip():
            raise FlowError("/set: key or value is missing. Write, for example, /set sampling.temperature 0.3")
        self.chat.set(f"{key.strip()}={value.strip()}")
        self.chat.screen.status(f"{key.strip()} is now {value.strip()}")

    def context(self, rest: str) -> None:
        messages = self._messages()
        engine = self.chat.session.opened("engine")
        tokens = ""
        if engine and messages:
            with suppress(EngineError):  # one without a tokenizer
                tokens = f", {engine.count(Prompt(messages))} tokens as a prompt"
        ledger = self.chat.screen.ledger
        if ledger is not None:
            self.chat.screen.status("\n".join(["The last prompt:", *ledger_lines(ledger), ""]))
        lines = [f"{message.role:>9}  {_short(message.shown)}" for message in messages]
        self.chat.screen.status("\n".join([f"{len(messages)} messages{tokens}", *lines]))

    def undo(self, rest: str) -> None:
        taken = self._store().undo(self.chat.conversation)
        if taken is None:
            raise FlowError("/undo: there is nothing to take back.")
        self.chat.screen.status(f"Taken back: {_short(taken.shown)}")

    def retry(self, rest: str) -> None:
        store = self._store()
        turns = store.turns(self.chat.conversation)
        if not turns:
            raise FlowError("/retry: there is no turn to answer again. Say something first.")
        last = turns[-1].turn
        store.undo(self.chat.conversation)
        self.chat.answer(replace(last, number=None, sample=last.sample + 1))

    def fork(self, rest: str) -> None:
        if rest and not rest.isdecimal():
            raise FlowError(f"/fork: '{rest}' is no number of a turn. Write, for example, /fork 3")
        before, name = self.chat.conversation, f"chat-{uuid4().hex[:8]}"
        self._archive().fork(before, name, int(rest) if rest else None)
        self.chat.conversation = name
        self.chat.screen.status(f"Now in {name}; `vllm-flow chat -c {before}` goes back.")

    def title(self, rest: str) -> None:
        self._archive().set_title(self.chat.conversation, rest)
        self.chat.screen.status(f"This conversation is called: {' '.join(rest.split())}")

    def search(self, rest: str) -> None:
        query, found = Query.of(rest), self._archive().search(rest, FOUND + 1)
        lines = [
            f"{one.conversation}, turn {one.number}, {one.message.role}: {query.around(one.message.text)}"
            for one in found[:FOUND]
        ]
        if len(found) > FOUND:
            lines.append(f"There are more than these {FOUND}. Give another word.")
        self.chat.screen.status("\n".join(lines) or "No message has all of these words.")

    def image(self, rest: str) -> None:
        self._show("image", rest)

    def audio(self, rest: str) -> None:
        self._show("audio", rest)

    def _show(self, kind: str, path: str) -> None:
        gate = self.chat.session.pipeline.media
        if gate is None:
            raise FlowError(f"/{kind}: {MISSING}")
        if not path:
            raise FlowError(f"/{kind}: the file is missing. Write, for example, {HELP[kind].split('  ')[0]}")
        if path == "-":
            self._take_back(kind)
            return
        medium = gate.read(path)
        if medium.kind != kind:
            raise FlowError(f"{path}: it is {A_KIND[medium.kind]}. Write /{medium.kind} {path}")
        self.chat.shown.append(medium)
        self.chat.screen.status(f"{medium.shown} goes with what you say next.")

    def _take_back(self, kind: str) -> None:
        """The one that came last."""
        last = next((place for place, one in enumerate(reversed(self.chat.shown), 1) if one.kind == kind), None)
        if last is None:
            raise FlowError(f"/{kind} -: no {kind} waits for what you say next, so there is nothing to take back.")
        self.chat.screen.status(f"{self.chat.shown.pop(-last).shown} is taken back.")

    def good(self, rest: str) -> None:
        self._like(1.0)

    def bad(self, rest: str) -> None:
        self._like(-1.0)

    def _like(self, feedback: float) -> None:
        if not self._store().turns(self.chat.conversation):
            raise FlowError("nothing has been answered yet. Say something first.")
        self.chat.feedback = feedback
        self.chat.screen.status("Noted. It goes with what you say next.")

    def remember(self, rest: str) -> None:
        key, _, value = (part.strip() for part in rest.partition("="))
        if not key or not value:
            raise FlowError("/remember: name or value is missing. Write, for example, /remember city=Oslo")
        self._facts()
        self.chat.remember[key] = value
        self.chat.screen.status(f"{key} is {value}, from what you say next on.")

    def forget(self, rest: str) -> None:
        known = self._facts()
        if not rest or same(rest) not in map(same, known):
            what = f"nothing is remembered as '{rest}'.{nearest(rest, known)}" if rest else "the name is missing."
            raise FlowError(f"/forget: {what} There is: {listed(known)}.")
        self.chat.remember = {key: one for key, one in self.chat.remember.items() if same(key) != same(rest)}
        self.chat.remember[rest] = None
        self.chat.screen.status(f"{rest} is forgotten, from what you say next on.")

    def facts(self, rest: str) -> None:
        lines = [f"{key}: {value}" for key, value in self._facts().items()]
        self.chat.screen.status("\n".join(lines) or "Nothing is remembered yet.")

    def _facts(self) -> dict[str, str]:
        """What is remembered, with what will be from the next turn on."""
        stages = (node.stage for node in self.chat.session.pipeline.graph.nodes)
        if not any(isinstance(stage, Facts) for stage in stages):
            raise FlowError(
                "this pipeline keeps no facts. Choose one that does, such as pipeline=dialogue context=facts."
            )
        return remembered(self._store().state(self.chat.conversation), self.chat.remember)

    def save(self, rest: str) -> None:
        path = Path(rest or f"{self.chat.conversation}.jsonl")
        messages = self._messages()
        if not messages:
            raise FlowError("/save: nothing has been said yet.")
        try:
            file = path.expanduser()
            if file.exists():
                raise FlowError(f"/save: {path} exists. Choose another name.")
            said = as_rows_say(messages, file.with_suffix(".media"))
            with replaced(file) as row:
                row.write(json.dumps({"id": self.chat.conversation, "messages": said}, ensure_ascii=False) + "\n")
        except FileExistsError as error:  # where the folder of what is shown would be
            raise FlowError(f"/save: {error.filename} exists. Choose another name.") from None
        except (OSError, RuntimeError, ValueError) as error:  # ~nobody, a zero byte
            what = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
            raise FlowError(f"/save: {path} cannot be written: {what}. Choose another place.") from None
        self.chat.screen.status(f"Saved {len(messages)} messages to {path}")

    def _store(self) -> Store:
        if self.chat.store is None:
            raise FlowError("this pipeline remembers nothing. Choose one with a context, such as pipeline=dialogue.")
        return self.chat.store

    def _archive(self) -> Archive:
        if not isinstance(store := self._store(), Archive):
            raise FlowError(f"a {type(store).__name__} cannot do this. Choose an Archive, such as store=sqlite.")
        return store

    def _messages(self) -> tuple[Message, ...]:
        turns = self._store().turns(self.chat.conversation)
        return tuple(message for stored in turns for message in said(stored))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"
