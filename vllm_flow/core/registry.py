"""Registries: the names used in YAML, and the classes behind them. Names, never import paths.

A class registers itself when its module is imported; `plugins.py` decides which modules those are. Where one method
is all that a part has, a function will do.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from vllm_flow.core.errors import FlowError, listed, nearest
from vllm_flow.core.functions import class_of, function_of

Made = TypeVar("Made", bound=Callable[..., object])
NAME = re.compile(r"([\w.-]+:)?[\w-]+/[\w-]+")
WORD = re.compile(r"([\w.-]+:)?[\w-]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered class."""

    name: str
    cls: type
    blocking: bool = False
    """A stage whose `run` takes long and is not async: it runs in a thread of a bounded pool."""
    shared: bool = False
    """A resource that runs with equal options share, because opening it is costly: engines."""
    higher_is_better: bool | None = None
    """Of a metric: which way is better. None: neither, for it says nothing of quality or cost."""
    per_token: bool = True
    """Of a schedule: whether its value may change within an answer, or only from turn to turn."""
    needs: tuple[str, ...] = ()
    """Of a schedule: the signals that it reads."""

    @property
    def summary(self) -> str:
        """The first line of the class's docstring: what `ls` shows."""
        return (inspect.getdoc(self.cls) or "").partition("\n")[0]

    @property
    def place(self) -> str:
        try:
            file = inspect.getsourcefile(self.cls)
        except (TypeError, OSError):  # typed in at a prompt
            file = None
        return f"{file or self.cls.__module__}: {self.cls.__qualname__}"


class Registry:
    """Names of one kind of part, each with the class that implements it."""

    def __init__(self, kind: str, method: str, *, functions: bool = False, words: bool = False) -> None:
        self.kind = kind
        self.method = method
        self.words = words
        """Whether a name is one word, without a role: the place where it stands says what it is."""
        self.functions = functions
        """Whether a function may stand for a class without options."""
        self._entries: dict[str, Entry] = {}

    def __call__(
        self,
        name: str,
        *,
        blocking: bool = False,
        shared: bool = False,
        higher_is_better: bool | None = None,
        per_token: bool = True,
        needs: Iterable[str] = (),
    ) -> Callable[[Made], Made]:
        """Register a frozen dataclass under a `role/manner` name. Raises FlowError if it cannot be used."""

        def register(made: Made) -> Made:
            cls: Any = class_of(made, self.method) if self.functions and inspect.isfunction(made) else made
            self._add(Entry(name, cls, blocking, shared, higher_is_better, per_token, tuple(needs)))
            return made

        return register

    def _add(self, entry: Entry) -> None:
        what = f"{self.kind} '{entry.name}' ({entry.place})"
        form = WORD if self.words else NAME
        if not form.fullmatch(entry.name) or entry.name.startswith("pipeline/"):
            forms = "`role/manner` or `package:role/manner`, where no role is called pipeline"
            forms = "`name` or `package:name`" if self.words else forms
            raise FlowError(f"{what}: the name cannot be used. Take one of the form {forms}.")
        # Its own, and not an ancestor's: a subclass's fields need their own decorator.
        parameters = vars(entry.cls).get("__dataclass_params__")
        if parameters is None or not parameters.frozen:
            raise FlowError(f"{what}: not a frozen dataclass. Put @dataclass(frozen=True) below the registration.")
        if not inspect.isfunction(inspect.getattr_static(entry.cls, self.method, None)):
            raise FlowError(f"{what}: there is no method '{self.method}', which every {self.kind} has. Write it.")
        if entry.blocking and inspect.iscoroutinefunction(getattr(entry.cls, self.method)):
            raise FlowError(f"{what}: its '{self.method}' is async and cannot run in a thread. Drop async or blocking.")
        if not entry.summary or "__doc__" not in vars(entry.cls) or entry.summary.startswith(f"{entry.cls.__name__}("):
            raise FlowError(f"{what}: it has no docstring. Its first line is what `vllm-flow ls` shows.")
        taken = self._entries.get(entry.name)
        if taken is not None and taken.place != entry.place:
            raise FlowError(f"{what}: the name is taken by {taken.place}. Choose another name.")
        self._entries[entry.name] = entry

    def find(self, name: str) -> Entry | None:
        return self._entries.get(name)

    def of(self, cls: type) -> Entry | None:
        """The entry of this very class; a subclass is another part."""
        return next((entry for entry in self._entries.values() if entry.cls is cls), None)

    def of_function(self, function: Callable[..., Any]) -> Entry | None:
        entries = self._entries.values()
        return next((entry for entry in entries if function_of(entry.cls, self.method) is function), None)

    def unknown(self, name: str, also: Iterable[str] = ()) -> str:
        """What to say of a name that `find` does not know; `also` are names that could have been registered."""
        names = {*self._entries, *also}
        return f"there is no {self.kind} '{name}'.{nearest(name, names)} There are: {listed(names)}."

    def __iter__(self) -> Iterator[Entry]:
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))


class Named(Registry):
    """A registry in which a function may go by the name that it has: `@tool` alone stands above its `def`."""

    @overload  # type: ignore[override]  # it takes less
    def __call__(self, name: str) -> Callable[[Made], Made]: ...

    @overload
    def __call__(self, name: Made) -> Made: ...

    def __call__(self, name: Any) -> Any:
        if isinstance(name, str):
            return super().__call__(name)
        return super().__call__(getattr(name, "__name__", ""))(name)


stage = Registry("stage", "run")
resource = Registry("resource", "open")
source = Registry("input", "turns")
metric = Registry("metric", "score", functions=True)
tool = Named("tool", "call", functions=True, words=True)
schedule = Registry("schedule", "at", functions=True, words=True)
