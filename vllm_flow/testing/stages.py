"""The check of a stage: it is run as the runner runs it, twice.

What is given for a port is a value that fits it, or else a function without parameters that makes one. A value serves
both runs. A function is called once for each run, and what it made is closed afterwards: with `store=MemoryStore` both
runs begin alike, though the stage writes to its store.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import operator
import typing
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from vllm_flow.core import registry
from vllm_flow.core.codec import completion_from_json, encode, turn_from_json
from vllm_flow.core.errors import StageError, listed, nearest
from vllm_flow.core.graph import Graph, Node
from vllm_flow.core.json_text import decode
from vllm_flow.core.message_json import message_from_json
from vllm_flow.core.messages import Message
from vllm_flow.core.ports import Ports, fits, many, ports_of, type_name
from vllm_flow.core.resources import Engine
from vllm_flow.core.shown import Said
from vllm_flow.core.values import Completion, Turn
from vllm_flow.core.walk import Live, Walk
from vllm_flow.testing.asking import home
from vllm_flow.testing.compare import copied, difference, require
from vllm_flow.testing.options import option_problems, registered
from vllm_flow.testing.values import turn

READ: Mapping[type, Any] = {Turn: turn_from_json, Completion: completion_from_json, Message: message_from_json}
"""Values that stores and inputs read back."""


def check_stage(stage: Any, /, **values: Any) -> Any:
    """Run a stage on what is given for its ports, check what every stage promises, and give what the first run gave.

    It is registered; its ports can be read and its options be configured; what is given fits. Then equal values give
    equal values, of the type declared, and `foresee` foresaw them; no input is changed; and a value of ours that it
    gives can be recorded.

    Raises AssertionError with one line for each broken promise, and whatever `run` raises, as it is.
    """
    entry = registered(registry.stage, stage)
    try:
        ports = ports_of(entry.cls)
    except (TypeError, NameError) as error:
        raise AssertionError(f"{entry.name}: {error}.") from error
    trial = StageTrial(entry, stage, ports)
    _refuse([*option_problems(entry.name, stage), *trial.unfit(values)])
    before = {name: copied(value) for name, value in values.items() if is_data(value, ports.inputs[name].type)}
    first = home().run(trial.run(values))
    _refuse([*trial.changed(values, before), *trial.misfit(first), *record_problems(entry.name, first)])
    second = home().run(trial.run({**values, **before}))
    _refuse([*trial.differing(second, first, values.keys() - before), *trial.unforeseen(first, before)])
    return first


def _refuse(problems: Iterable[str]) -> None:
    found = "\n".join(problems)
    require(not found, found)


@dataclass(frozen=True)
class StageTrial:
    """A stage on trial."""

    entry: registry.Entry
    stage: Any
    ports: Ports

    def unfit(self, values: Mapping[str, Any]) -> Iterator[str]:
        """What is wrong with what is given, before anything runs."""
        inputs = self.ports.inputs
        for name in (one for one in values if one not in inputs):
            yield f"{self.entry.name}: there is no port '{name}'.{nearest(name, inputs)} Ports: {listed(inputs)}."
        for name, port in inputs.items():
            if name not in values and port.required:
                yield f"{self.entry.name}.{name}: nothing is given. It takes {type_name(port.type)}."
            elif name in values and not suits(values[name], port.type) and not callable(values[name]):
                yield self._does_not_fit(name, values[name], "is given")

    def _does_not_fit(self, name: str, value: Any, how: str) -> str:
        is_a, takes = type_name(type_of(value)), type_name(self.ports.inputs[name].type)
        return f"{self.entry.name}.{name}: {is_a} {how}. It takes {takes}, or a function that makes one."

    async def run(self, values: Mapping[str, Any]) -> Any:
        """What one run gives."""
        node = Node("value", self.entry.name, self.stage, {name: name for name in values}, blocking=self.entry.blocking)
        graph = Graph((node,), node.name, self.ports.output, self.ports.inputs)
        with ExitStack() as closing:
            inputs = {name: self._input(name, value, closing) for name, value in values.items()}
            given = {name: Live(value) if isinstance(value, Engine) else value for name, value in inputs.items()}
            whose = next((value for value in inputs.values() if isinstance(value, Turn)), turn("Hello."))
            try:
                return await Walk(whose, 0, lambda _: None, None, Said()).graph(graph, given)
            except StageError as error:
                cause = error.cause
            raise cause

    def _input(self, name: str, value: Any, closing: ExitStack) -> Any:
        wanted = self.ports.inputs[name].type
        if suits(value, wanted):
            return value
        made = value()
        if callable(close := getattr(made, "close", None)):
            closing.callback(close)
        require(suits(made, wanted), self._does_not_fit(name, made, "is what the function made"))
        return made

    def changed(self, values: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[str]:
        for name, was in before.items():
            if found := difference(values[name], was):
                what = f"run changed {found.place or 'it'} from {found.wanted} to {found.given}"
                yield f"{self.entry.name}.{name}: {what}. Make a new value instead."

    def misfit(self, value: Any) -> Iterator[str]:
        if not suits(value, self.ports.output):
            is_a, declared = type_name(type_of(value)), type_name(self.ports.output)
            yield f"{self.entry.name}: run gave {is_a} and declares {declared}. Make the two agree."

    def differing(self, second: Any, first: Any, live: Iterable[str]) -> Iterator[str]:
        """`live` are the inputs that are no frozen values: one that served both runs may have changed in between."""
        if found := difference(second, first):
            what = f"for equal values {found.place or 'what run gave'} was {found.wanted} and then {found.given}"
            afresh = f", and give {listed(live)} as a function that makes it" if live else ""
            advice = "Use nothing but inputs and options, and take the time from a clock"
            yield f"{self.entry.name}: {what}. {advice}{afresh}."

    def unforeseen(self, value: Any, data: Mapping[str, Any]) -> Iterator[str]:
        """Before a run, what `foresee` gives is shown to engines in place of the value that `run` will give."""
        foresee = getattr(self.stage, "foresee", None)
        if foresee is None or not (parameters := inspect.signature(foresee).parameters).keys() <= data.keys():
            return
        if found := difference(foresee(**{name: data[name] for name in parameters}), value):
            place = f"{found.place} " if found.place else ""
            what = f"foresee gave {place}{found.given} where run gave {found.wanted}"
            yield f"{self.entry.name}: {what}. Make the two agree."


def type_of(value: Any) -> Any:
    """The port type of a value: of a tuple `tuple[Item, ...]`, where an empty one fits every tuple."""
    if type(value) is not tuple:
        return type(value)
    return many(functools.reduce(operator.or_, map(type_of, value)) if value else Any)


def suits(value: Any, wanted: Any) -> bool:
    """Whether a value may go where `wanted` is asked for: the rule by which a pipeline's edges are checked."""
    return fits(type_of(value), wanted)


def is_data(value: Any, wanted: Any) -> bool:
    """Whether it is a frozen value. A port that is a Protocol asks for a live object, which a stage may change."""
    live = any(Protocol in getattr(one, "__bases__", ()) for one in typing.get_args(wanted) or (wanted,))
    if type(value) is tuple:
        return all(is_data(item, wanted) for item in value)
    parameters = getattr(type(value), "__dataclass_params__", None)
    return not live and parameters is not None and bool(parameters.frozen)


def record_problems(name: str, value: Any) -> Iterator[str]:
    """What keeps values of ours, alone or in a tuple, from being written to a record or a store and read again."""
    for item in value if type(value) is tuple else (value,):
        if not type(item).__module__.startswith("vllm_flow.core.") or not dataclasses.is_dataclass(item):
            continue
        try:
            data = decode(encode(item))
            found = difference(READ[type(item)](data), item) if type(item) in READ else None
        except ValueError as error:
            yield f"{name}: what run gave cannot be recorded: {error}"
            continue
        if found:
            what = f"what run gave changes when it is recorded: {found.place} from {found.wanted} to {found.given}"
            yield f"{name}: {what}. Give it the type its field declares."
