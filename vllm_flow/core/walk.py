"""The walk of one turn through a graph: each node gets its inputs by name, in the table's order.

Engines are handed out *bound* to node and turn: the binding derives the seed, measures the time, and publishes tokens.
A stage therefore cannot choose its noise, and a guard after the reply cannot be bypassed: only the output node's tokens
are live.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from vllm_flow.core.adapting import Adapted, AdaptRequest
from vllm_flow.core.binding import bound
from vllm_flow.core.errors import FlowError, StageError
from vllm_flow.core.events import Called, Event, Heard, Inferred, NodeDone
from vllm_flow.core.graph import Graph, Node
from vllm_flow.core.heard import Bound, Outside, Recall
from vllm_flow.core.ledger import Measured
from vllm_flow.core.likelihoods import Scored
from vllm_flow.core.measuring import ledger_of, measuring
from vllm_flow.core.ports import holds, type_name
from vllm_flow.core.resources import Engine
from vllm_flow.core.seeds import derive_seed
from vllm_flow.core.shown import Hold, Said, Seat, Shown
from vllm_flow.core.taking import adapting, score
from vllm_flow.core.values import Before, Finish, Prompt, Request, Token, Turn

RETRY = 2**32
"""Samples of a retry are numbered from here on, so that they depend on no sampling parameter, `n` included."""


class BoundEngine:
    """An engine as one node sees it, for one turn."""

    def __init__(self, live: Live, seat: Seat) -> None:
        self._live = live
        self._engine = live.engine
        self._resource = live.resource
        self._seat = seat

    def holding(self, hold: Hold) -> BoundEngine:
        """The same, but of what it says only that is live which need not be held back; a whole answer may be held."""
        return BoundEngine(self._live, replace(self._seat, hold=hold))

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        if request.adapter is not None:
            adapting(self._engine)
        seat, sample = self._seat, self._seat.turn.sample * RETRY + request.sample
        seed = derive_seed(seat.run_seed, seat.turn.conversation, seat.turn.number or 0, seat.node, sample)
        shown = Shown(seat, request.sample, seat.live and request.schedule.at(0).n == 1)
        if shown.live:
            seat.said.prompt, seat.said.engine = request.prompt, self._engine
            seat.said.tokens.clear()
        asked = replace(request, seed=seed, tenant=seat.turn.tenant)
        ledger = ledger_of(request.prompt, self._engine, self._seat.turn.tenant)
        started = time.perf_counter()
        first: float | None = None
        tokens: list[Token] = []
        try:
            async with aclosing(self._engine.generate(asked)) as stream:
                async for token in stream:
                    first = first or time.perf_counter()
                    tokens.append(token)
                    shown.take(token)
                    if token.finish:
                        self._publish_end(request, token.finish, started, first)
                    yield token
        finally:
            seat.publish(Called(seat.turn, seat.node, self._resource, asked, tokens, shown.seen, ledger))

    def _publish_end(self, request: Request, finish: Finish, started: float, first: float) -> None:
        seat, ended = self._seat, time.perf_counter()
        seat.publish(
            Inferred(
                seat.turn,
                seat.node,
                request.sample,
                finish.reason,
                finish.usage,
                finish.cached_tokens,
                first - started,
                ended - started,
                finish.reuse_stopped_at,
            )
        )

    async def score(
        self, prompt: Before, completion: str | tuple[int, ...], tenant: str = "", adapter: str | None = None
    ) -> Scored:
        """For the turn's own tenant, whatever is given."""
        seat = self._seat
        scored = await score(self._engine, prompt, completion, seat.turn.tenant, adapter)
        seat.publish(Heard(seat.turn, seat.node, self._resource, "score", scored))
        return scored

    async def adapt(self, request: AdaptRequest) -> Adapted:
        """For the turn's own tenant, whatever is given."""
        seat = self._seat
        adapted = await adapting(self._engine).adapt(replace(request, tenant=seat.turn.tenant))
        seat.publish(Heard(seat.turn, seat.node, self._resource, "adapt", adapted))
        return adapted

    def count(self, prompt: Prompt) -> int:
        return self._engine.count(prompt)

    def measure(self, prompt: Prompt, tenant: str = "") -> Measured:
        """For the turn's own tenant, whatever is given."""
        return measuring(self._engine).measure(prompt, self._seat.turn.tenant)

    def describe(self) -> Mapping[str, Any]:
        return self._engine.describe()

    def close(self) -> None:
        """Nothing: the runner closes what it opened."""


@dataclass(frozen=True)
class Walk:
    """One turn's way through the graphs."""

    turn: Turn
    run_seed: int
    publish: Callable[[Event], None]
    pool: Executor | None
    said: Said
    recall: Recall | None = None
    """Gives what clocks and the web have said before, when a turn is told again."""

    async def graph(self, graph: Graph, given: Mapping[str, Any], prefix: str = "", live: bool = True) -> Any:
        """Make every value of `graph` and return its output. Raises StageError naming the node that failed."""
        values = dict(given)
        for node in graph.nodes:
            values[node.name] = await self._node(node, values, prefix, live and node.name == graph.output)
        return values[graph.output]

    async def _node(self, node: Node, values: Mapping[str, Any], prefix: str, live: bool) -> Any:
        if node.when and not node.when.holds(values):
            return None
        name = prefix + node.name
        inputs = {parameter: values[source] for parameter, source in node.sources.items()}
        value = await self._named(self._each if node.each else self._call, node, inputs, name, live)
        if not holds(value, node.makes):  # or it would be its readers that fail, or a store that keeps it
            given, declared = type_name(type(value)), type_name(node.makes)
            cause = TypeError(f"run gave {given} and declares {declared}. Make the two agree")
            raise StageError(name, node.use, cause)
        self.publish(NodeDone(self.turn, name, value))
        return value

    async def _named(
        self, work: Callable[..., Awaitable[Any]], node: Node, inputs: Mapping[str, Any], name: str, live: bool
    ) -> Any:
        """What the work gives. Whatever it raises becomes a StageError that names the node."""
        try:
            return await work(node, inputs, name, live)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise StageError(name, node.use, error) from error  # nobody cancelled the turn: something in the stage was
        except Exception as error:
            cause = _innermost(error)
            if isinstance(cause, StageError):
                raise cause from None
            raise StageError(name, node.use, cause) from error

    async def _each(self, node: Node, inputs: Mapping[str, Any], name: str, live: bool) -> tuple[Any, ...]:
        """One run per item, all at once. None is live: their tokens would come mixed."""
        spread = node.each or ""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._named(self._call, node, {**inputs, spread: item}, f"{name}[{place}]", False))
                for place, item in enumerate(inputs[spread])
            ]
        return tuple(task.result() for task in tasks)

    async def _call(self, node: Node, inputs: Mapping[str, Any], name: str, live: bool) -> Any:
        if isinstance(node.stage, Graph):
            return await self.graph(node.stage, inputs, f"{name}/", live)
        given = {parameter: self._bind(value, name, live) for parameter, value in inputs.items()}
        try:
            if node.blocking:
                return await asyncio.get_running_loop().run_in_executor(self.pool, _run_in_thread, node.stage, given)
            value = node.stage.run(**given)
            return await value if inspect.isawaitable(value) else value
        finally:
            self._tell_heard(name, given)

    def _bind(self, value: Any, node: str, live: bool) -> Any:
        if isinstance(value, Live):
            return BoundEngine(value, Seat(self.turn, node, self.run_seed, live, self.publish, self.said))
        if isinstance(value, Outside):
            return bound(value, self.turn, node, self.recall, self.publish)
        return value

    def _tell_heard(self, node: str, given: Mapping[str, Any]) -> None:
        """Here, and not where the resource is asked: that may be in another thread."""
        for one in given.values():
            if isinstance(one, Bound):
                for answer in one.said:
                    self.publish(Heard(self.turn, node, one.resource, one.method, answer))


@dataclass(frozen=True, slots=True)
class Live:
    """Marks an open engine among the given values, so that each node gets its own binding of it."""

    engine: Engine
    resource: str = "engine"


def _run_in_thread(stage: Any, inputs: Mapping[str, Any]) -> Any:
    try:
        return stage.run(**inputs)
    except StopIteration as error:  # a future cannot carry it, and the turn would wait for ever
        raise RuntimeError("the stage raised StopIteration") from error


def _innermost(cause: BaseException) -> BaseException:
    """The first error inside the groups that concurrent answers raise."""
    while isinstance(cause, BaseExceptionGroup) and cause.exceptions:
        cause = next((one for one in cause.exceptions if isinstance(one, FlowError)), cause.exceptions[0])
    return cause
