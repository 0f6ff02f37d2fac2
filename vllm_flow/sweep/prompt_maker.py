"""Prompts before a run: made by the pipeline's own built-in context and fuse stages, which do nothing but make them.

Answers are not known yet: a full stop stands for each, so that its question stays in the history.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vllm_flow.core.errors import EngineError
from vllm_flow.core.graph import Node
from vllm_flow.core.ledger import Measured
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.ports import fits
from vllm_flow.core.resources import Engine, Foreseen, StoredTurn
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.tools import Tools
from vllm_flow.core.values import Completion, Prompt, Request, Token, Turn, Usage
from vllm_flow.stores.memory import MemoryStore

MAKERS = ("context/", "fuse/")
SHORTEST = Completion(".", (), "stop", Usage(None, None))


@dataclass(frozen=True)
class Unloaded:
    """As much of an engine as is known without its weights."""

    foreseen: Foreseen

    def count(self, prompt: Prompt) -> int:
        return self.foreseen.count(prompt)

    def measure(self, prompt: Prompt, tenant: str = "") -> Measured:
        if self.foreseen.measure is None:
            raise EngineError("what parts of a prompt take is known only when the model is there.")
        return self.foreseen.measure(prompt)

    def describe(self) -> Mapping[str, Any]:
        return {"context_length": self.foreseen.context_length}

    def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        raise EngineError("nothing is loaded.")

    def close(self) -> None:
        """Nothing was opened."""


class PromptMaker:
    """Makes the prompts of turns, in their order."""

    def __init__(self, pipeline: Pipeline, foreseen: Foreseen) -> None:
        nodes = pipeline.graph.nodes
        self._nodes = [one for one in nodes if one.use.startswith(MAKERS) and one.makes is not type(None)]
        self._store = MemoryStore()
        self._known: dict[str, Any] = {"store": self._store, "sampling": pipeline.sampling}
        self._known |= {name: Unloaded(foreseen) for name, one in pipeline.resources.items() if fits(one.opens, Engine)}
        self._known |= {name: one.options.open() for name, one in pipeline.resources.items() if fits(one.opens, Tools)}
        self._known |= {node.name: pipeline.sampling.schedule() for node in nodes if node.makes is Schedule}
        makes = [one.name for one in self._nodes if one.makes is Prompt]
        self._output = makes[0] if makes else ""
        self.able = len(makes) == 1 and self._can_make({"turn", *self._known}, self._nodes)
        """Whether they can be made here."""

    @staticmethod
    def _can_make(known: Iterable[str], nodes: Iterable[Node]) -> bool:
        there = set(known)
        for node in nodes:
            ours = type(node.stage).__module__.startswith("vllm_flow.")
            if not ours or node.each or node.when or inspect.iscoroutinefunction(node.stage.run):
                return False
            if not there.issuperset(node.sources.values()):
                return False
            there.add(node.name)
        return True

    def prompt(self, turn: Turn) -> Prompt:
        """Raises ContextOverflow for one that does not fit, where its stage says so."""
        number = turn.number or len(self._turns(turn)) + 1
        turn = Turn(turn.conversation, turn.message, turn.history, number, turn.sample)
        values: dict[str, Any] = {"turn": turn, **self._known}
        self._store.begin(turn)
        self._store.commit(turn, SHORTEST, {})
        for node in self._nodes:
            values[node.name] = node.stage.run(**{name: values[source] for name, source in node.sources.items()})
        prompt: Prompt = values[self._output]
        return prompt

    def _turns(self, turn: Turn) -> tuple[StoredTurn, ...]:
        return self._store.turns(turn.conversation)
