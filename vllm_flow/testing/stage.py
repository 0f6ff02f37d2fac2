"""What every stage promises, and the check of it: the stage is run as the runner runs it, twice.

What is given for a port is a value that fits it, or else a function without parameters that makes one. A value serves
both runs. A function is called once for each run, and what it made is closed afterwards: with `store=MemoryStore` both
runs begin alike, though the stage writes to its store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from vllm_flow.core import registry
from vllm_flow.core.errors import StageError, listed, nearest
from vllm_flow.core.graph import Graph, Node
from vllm_flow.core.ports import Ports, ports_of, type_name
from vllm_flow.core.resources import Engine
from vllm_flow.core.values import Turn, user
from vllm_flow.core.walk import Live, Said, Walk
from vllm_flow.testing.asking import to_end
from vllm_flow.testing.compare import copied, difference, require
from vllm_flow.testing.stage_values import is_data, option_problems, record_problems, suits, type_of

TURN = Turn("check_stage", user("Hello."), number=1)
"""Whose turn it is when the stage asks for none."""


def check_stage(stage: Any, /, **values: Any) -> Any:
    """Run a stage on what is given for its ports, check what every stage promises, and give what the first run gave.

    It is registered; its ports can be read and its options be configured; what is given fits. Then equal values give
    equal values, of the type declared; no input is changed; and a value of ours that it gives can be recorded.

    Raises AssertionError with one line for each broken promise, and whatever `run` raises, as it is.
    """
    entry = registry.stage.of(type(stage))
    if entry is None:
        raise AssertionError(
            f"{type(stage).__name__}: it is not registered. Put @stage('role/manner') above the class."
        )
    try:
        ports = ports_of(entry.cls)
    except (TypeError, NameError) as error:
        raise AssertionError(f"{entry.name}: {error}.") from error
    trial = StageTrial(entry, stage, ports)
    _refuse([*option_problems(entry.name, stage), *trial.unfit(values)])
    data = {name for name, value in values.items() if is_data(value, ports.inputs[name].type)}
    before = {name: copied(values[name]) for name in data}
    first = to_end(lambda: trial.run(values))
    _refuse([*trial.changed(values, before), *trial.misfit(first), *record_problems(entry.name, first)])
    again = {name: before[name] if name in data else value for name, value in values.items()}
    second = to_end(lambda: trial.run(again))
    _refuse(trial.differing(second, first))
    return first


def _refuse(problems: Iterator[str] | list[str]) -> None:
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
            turn = next((value for value in inputs.values() if isinstance(value, Turn)), TURN)
            try:
                return await Walk(turn, 0, lambda _: None, None, Said()).graph(graph, given)
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

    def differing(self, second: Any, first: Any) -> Iterator[str]:
        if found := difference(second, first):
            what = f"for equal values {found.place or 'what run gave'} was {found.wanted} and then {found.given}"
            yield f"{self.entry.name}: {what}. Use nothing but inputs and options, and take the time from a clock."
