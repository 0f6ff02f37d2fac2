"""A session: a pipeline in use from Python. Blocking and asynchronous calls, from any thread, notebooks included.

One text is one turn of the session's conversation, so that a chat goes on from call to call. Many texts are a batch,
each a conversation of its own, named as rows of a file are: Python and the command give equal answers.
"""

from __future__ import annotations

import asyncio
import logging
import re
import weakref
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self, overload

from vllm_flow.core import ending
from vllm_flow.core.engines import Engines
from vllm_flow.core.errors import FlowError, InputError, RecordError, told
from vllm_flow.core.events import Observer
from vllm_flow.core.files import new_folder
from vllm_flow.core.likelihoods import Scored
from vllm_flow.core.messages import Message, user
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.results import Result, TurnFailed
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Before, Prompt, Turn
from vllm_flow.session.asked import Asked, Saying
from vllm_flow.session.background import PATIENCE_S, Background
from vllm_flow.session.desk import Desk
from vllm_flow.session.stream import Stream

CONVERSATION = "text"
"""As `input/text` calls its conversation: `session.run(text)` answers as `vllm-flow input.text=…` does."""
NO_FILE_NAME = re.compile(r"[^\w.-]+")
log = logging.getLogger("vllm_flow")


class Session:
    """One pipeline, its model loaded once and its conversations going on, until it is closed.

    Made by `vllm_flow.load` and `vllm_flow.build`. Use it with `with` or `async with`, or call `close`; a session that
    nobody closes is closed when it is forgotten or the process ends. Raises ConfigError with every fault of the spec;
    nothing is opened before the first turn, or `open`.

    `compose` and `overrides` say how the spec was made, so that `set` can make another.
    """

    def __init__(
        self,
        spec: RunSpec,
        *,
        engines: Engines | None = None,
        record: bool | str | PathLike[str] = True,
        observers: Sequence[Observer] = (),
        compose: Callable[[Sequence[str]], RunSpec] | None = None,
        overrides: Sequence[str] = (),
    ) -> None:
        self.conversation = CONVERSATION
        """Which conversation a text belongs to when nothing else is said. Set another to begin afresh."""
        self.folder = _folder(record, spec.name)
        """Where the record is written, from the first turn on; None without one."""
        self._compose = compose
        self._overrides = tuple(overrides)
        self._asked = Asked()
        self._desk = Desk(spec, engines, self.folder, observers)
        self._background = Background(f"vllm-flow {spec.name}")
        self._ending = weakref.finalize(self, _forgotten, self._desk, self._background)
        ending.before(self._ending)

    @property
    def spec(self) -> RunSpec:
        """The configuration in force."""
        return self._desk.runner.spec

    @property
    def engines(self) -> Engines:
        """What holds its models open. Another session made with them shares those, and closes none."""
        return self._desk.runner.engines

    @property
    def pipeline(self) -> Pipeline:
        """The spec, checked: its graph, resources and sampling."""
        return self._desk.runner.pipeline

    @overload  # a text is an iterable of texts, but is taken as one
    def run(self, said: Saying, conversation: str | None = None) -> Result: ...  # type: ignore[overload-overlap]
    @overload
    def run(self, said: Iterable[Saying] | None = None, conversation: str | None = None) -> list[Result]: ...
    def run(
        self, said: Saying | Iterable[Saying] | None = None, conversation: str | None = None
    ) -> Result | list[Result]:
        """Answer a text, many of them, or the configured input.

        A text, Message or Turn is one turn, of `conversation` or else of the session's own. It gives one Result; when
        it has no answer, TurnFailed is raised.

        A list of them is a batch, and with nothing given the configured input is. It gives a list of Results in the
        same order, with a `failure` where there is no answer. Each text is a conversation of its own; with
        `conversation` all are turns of that one, in order.

        Ctrl-C stops the work, and the session can still be used: what was answered is in the record, and what had been
        said of an answer is stored as interrupted. Raises InputError, ModelError and what else keeps it from beginning.
        """
        work = self._work(said, conversation)
        self.open()
        return _with_answer(self._background.run(work))

    @overload
    async def arun(self, said: Saying, conversation: str | None = None) -> Result: ...  # type: ignore[overload-overlap]
    @overload
    async def arun(self, said: Iterable[Saying] | None = None, conversation: str | None = None) -> list[Result]: ...
    async def arun(
        self, said: Saying | Iterable[Saying] | None = None, conversation: str | None = None
    ) -> Result | list[Result]:
        """`run`, awaited: in any event loop, without blocking it. Cancelling stops the work as Ctrl-C does."""
        return _with_answer(await self._background.arun(self._work(said, conversation)))

    def stream(self, said: Saying, conversation: str | None = None) -> Stream:
        """One answer, piece by piece: `for piece in session.stream(text)`, or `async for`. See Stream."""
        turn = self._asked.one(said, conversation, self.conversation)
        return Stream(self._background, self._desk.stream(turn), self)

    def score(self, text: str | tuple[int, ...], prompt: Before | str = None, engine: str = "engine") -> Scored:
        """How probable a text, or token ids, is for the model of a resource that the pipeline reads.

        By itself, or as what the model would say after a prompt; a text as the prompt is said by the user, and token
        ids are read as they are. It is no turn: nothing remembers it, and the record does not hold it. Raises
        EngineError for what cannot be scored.
        """
        self.open()
        return self._background.run(partial(self._desk.score, engine, _prompt(prompt), text))

    async def ascore(self, text: str | tuple[int, ...], prompt: Before | str = None, engine: str = "engine") -> Scored:
        """`score`, awaited."""
        return await self._background.arun(partial(self._desk.score, engine, _prompt(prompt), text))

    def open(self) -> None:
        """Load and open everything now instead of at the first turn. Ctrl-C is heard meanwhile."""
        self._background.start()
        self._desk.open()  # in the caller's thread: a busy event loop could not be stopped

    def opened(self, name: str) -> Any:
        """The live resource of that name, such as `store`; None when it is not open or the graph reads none."""
        return self._desk.runner.opened(name)

    def set(self, override: str) -> None:
        """Change the configuration, as the command line would: `session.set("sampling.temperature=0.3")`.

        What is configured as before stays open, so conversations go on and a model stays loaded. Raises ConfigError,
        and changes nothing, when there are faults; FlowError while a turn is being answered.
        """
        if self._compose is None:
            what = "the session was built without files, so there is nothing to override"
            raise FlowError(f"session.set: {what}. Build another; with the same `engines` a model stays loaded.")
        overrides = (*self._overrides, override)
        spec = self._compose(overrides)
        self._background.start()
        self._desk.reconfigure(spec, override)  # as in `open`
        self._overrides = overrides

    def close(self) -> None:
        """Close what is open and finish the record. Whatever is in flight is stopped. Closing twice is fine."""
        self._end(None)

    async def aclose(self) -> None:
        """`close`, without blocking the event loop."""
        await asyncio.to_thread(self._end, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._end, error)

    def __repr__(self) -> str:
        return f"<Session {self.spec.name}, {f'recorded in {self.folder}' if self.folder else 'not recorded'}>"

    def _work(self, said: Any, conversation: str | None) -> Callable[[], Awaitable[Result | list[Result]]]:
        if isinstance(said, str | Message | Turn):
            return partial(self._desk.answer, self._asked.one(said, conversation, self.conversation))
        if said is None:
            if conversation is not None:
                raise InputError("session.run: the input names its own conversations. Leave `conversation` out.")
            return partial(self._desk.answer_all, self._asked.numbered(self.pipeline.turns()))
        return partial(self._desk.answer_all, self._asked.many(said, conversation))

    def _end(self, error: BaseException | None) -> None:
        if self._ending.detach() is not None:
            self._background.close(partial(self._desk.close, error))


def _prompt(given: Before | str) -> Before:
    return Prompt((user(given),)) if isinstance(given, str) else given


def _folder(record: bool | str | PathLike[str], name: str) -> Path | None:
    """Where the record goes. Raises RecordError for a folder that holds one already."""
    if record is False:
        return None
    if record is True:
        return new_folder(Path.cwd() / "outputs" / "runs", f"{NO_FILE_NAME.sub('_', name)}-python")
    folder = Path(record).expanduser().absolute()
    if (folder / "run.json").exists():
        raise RecordError(f"{folder}: there is the record of a run in it. Choose another folder.")
    return folder


def _forgotten(desk: Desk, background: Background) -> None:
    """Close what nobody closed, at the end of the process perhaps: nothing is raised, and nothing waits for long."""
    background.close(partial(_closed_quietly, desk), PATIENCE_S)


async def _closed_quietly(desk: Desk) -> None:
    try:
        await desk.close()
    except Exception as error:
        log.warning("a session that nobody closed did not end well: %s", told(error))


def _with_answer(results: Result | list[Result]) -> Result | list[Result]:
    """Raises TurnFailed for a single result without an answer."""
    if isinstance(results, Result) and results.failure is not None:
        raise TurnFailed(results)
    return results
