"""Variants: sessions that differ from one in sampling and share its models, so that all they are asked is one batch.

A harness says with each question how it is to be answered. That is what tells the points of a sweep apart: so each
way becomes a session of its own, all on the same engines, and nothing else in the framework knows of harnesses.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from types import TracebackType
from typing import Any, Self

from vllm_flow.core.errors import FlowError
from vllm_flow.core.messages import Message
from vllm_flow.core.results import Result
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Turn
from vllm_flow.session import Session

LOGPROBS = ("infer/generate", "infer/sample")


@dataclass(frozen=True, eq=False)
class Variant:
    """One way of sampling."""

    session: Session
    seen: Counter[tuple[Message, ...]] = field(default_factory=Counter)
    """How often each question was asked here."""

    def question(self, messages: Iterable[Message]) -> Turn:
        """The last message as a turn, after the others, in a conversation that is named by them all.

        A seed comes from the name of the conversation. So equal questions share their noise in every variant, and one
        that is asked several times has noise of its own each time.
        """
        *history, message = said = tuple(messages)
        text = json.dumps([(one.role, one.text) for one in said])
        name = f"{sha256(text.encode()).hexdigest()[:16]}-{self.seen[said]}"
        self.seen[said] += 1
        return Turn(name, message, tuple(history), number=1)

    async def answers(self, turns: Sequence[Turn]) -> list[Result]:
        """In the order of the turns."""
        return await self.session.arun(turns)


class Variants:
    """Opens a session for each way of sampling when it is first asked for, and closes them all.

    They are not recorded, for the harness keeps what was said; and they remember nothing beyond this, whatever the
    store of `session`: an answer that a store holds from another variant would be served again.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._open: dict[str, Variant] = {}

    def at(
        self, sampling: Mapping[str, Any], *, seed: int | None = None, logprobs: bool = False, top_logprobs: int = 0
    ) -> Variant:
        """The one whose spec has these sampling parameters in place of its own.

        Raises ConfigError for what the spec's engine or its stages cannot honour.
        """
        asked = {"logprobs": True, "top_logprobs": top_logprobs} if logprobs else {}
        key = json.dumps([sampling, seed, asked], sort_keys=True)
        if key not in self._open:
            spec = _forgetful(self._session.spec)
            spec = replace(spec, sampling={**spec.sampling, **sampling}, seed=spec.seed if seed is None else seed)
            spec = _with_logprobs(spec, asked) if asked else spec
            self._open[key] = Variant(Session(spec, engines=self._session.engines, record=False))
        return self._open[key]

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].session.close()

    def __enter__(self) -> Self:
        self._session.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _forgetful(spec: RunSpec) -> RunSpec:
    resources = {
        name: {"use": "store/memory"} if str(one.get("use", "")).rpartition(":")[2].startswith("store/") else one
        for name, one in spec.resources.items()
    }
    return replace(spec, resources=resources)


def _with_logprobs(spec: RunSpec, asked: Mapping[str, Any]) -> RunSpec:
    """Asks them of the node that answers. Raises FlowError when that is none that could give them."""
    answers = spec.graph[spec.output]
    if answers["use"] not in LOGPROBS:
        what = f"the output of the pipeline '{spec.name}' is made by {answers['use']}, which gives no log-probabilities"
        raise FlowError(f"logprobs: {what}. Leave them out, or choose a pipeline that ends in {LOGPROBS[0]}.")
    return replace(spec, graph={**spec.graph, spec.output: {**answers, **asked}})
