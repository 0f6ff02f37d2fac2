"""Dialects: which sampling parameters a server takes, how they are written for it, and what it does with them.

What a dialect takes is always sent, the neutral values too: a server that is not told would use defaults of its own, as
vLLM does those of a model's generation_config.json. What it does not take is refused before anything runs.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from vllm_flow.core.errors import EngineError, listed
from vllm_flow.core.grammar import held
from vllm_flow.core.media import Medium
from vllm_flow.core.resources import Capabilities
from vllm_flow.core.sampling import Sampling, unsupported
from vllm_flow.core.shape import KINDS, Shape
from vllm_flow.core.tool_prompts import function_json, has_tools, written_out
from vllm_flow.core.values import Prompt, Request, nothing
from vllm_flow.engines.chat_messages import InParts, chat_messages

Name = Literal["openai", "vllm", "common"]
KNOWN = frozenset(one.name for one in dataclasses.fields(Sampling))
SEED_BITS = 2**63 - 1
"""Servers read a seed as a signed 64-bit number."""


@dataclass(frozen=True)
class Dialect:
    """One way to write a chat completion."""

    takes: frozenset[str]
    """Sampling parameters that are sent by their own names, beside the limit."""
    limit: str = "max_tokens"
    """What it calls `max_tokens`."""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=nothing)
    logprobs: bool = True
    """Whether it tells the log-probability of each token."""
    tools: bool = True
    """Whether it reads tools and calls; what it does not is written out."""
    own_order: bool = True
    """Whether the order in which it applies the parameters may be another than ours."""
    shapes: frozenset[str] = frozenset()
    """Which kinds of shapes it holds an answer to, in a way of its own: what comes is looked at here in any case."""
    fields: Mapping[str, Any] = field(default_factory=nothing)
    """What is sent beside."""

    @property
    def token_ids(self) -> bool:
        return "return_token_ids" in self.fields

    def capabilities(self, seeds: bool, media: frozenset[str] = frozenset()) -> Capabilities:
        """seeds: whether the server is sent any. media: which kinds it is sent."""
        return Capabilities(
            sampling=(self.takes & KNOWN) | {"max_tokens"},
            logprobs=self.logprobs,
            ranges=self.ranges,
            sampler_order=() if self.own_order else None,
            seeded="best effort" if seeds else "no",
            batch_invariant=False,
            token_ids=self.token_ids,
            counts=False,
            shapes=self.shapes,
            tools=True,
            media=media,
        )

    def check(self, now: Sampling) -> None:
        """Raises EngineError for what would be left out: a stage's own schedule is not known beforehand."""
        if other := unsupported(now, self.takes):
            raise EngineError(
                f"sampling.{other[0]}: the engine cannot honour it. It takes: {listed(self.takes & KNOWN)}."
            )

    def body(self, model: str, request: Request, seeds: bool) -> dict[str, Any]:
        """The JSON to send; raises what `check` does. model: what the server calls it."""
        now = request.schedule.at(0)
        self.check(now)
        prompt = request.prompt if self.tools or not has_tools(request.prompt) else written_out(request.prompt)
        body: dict[str, Any] = {
            "model": model,
            "messages": chat_messages(prompt.messages, arguments_as_text=True, in_parts=_in_parts(prompt)),
            **({"tools": [function_json(one) for one in prompt.tools]} if prompt.tools else {}),
            "stream": True,
            "stream_options": {"include_usage": True},
            self.limit: now.max_tokens,
            **self.fields,
        }
        for name in sorted(self.takes & KNOWN):
            value = getattr(now, name)
            if not isinstance(value, Collection):
                body[name] = NO_LIMIT if name == "top_k" and value is None else value
            elif value:  # none is sent as nothing: no server has any of its own
                body[name] = dict(value) if isinstance(value, Mapping) else list(value)
        if seeds and now.temperature > 0:
            body["seed"] = request.seed & SEED_BITS
        if request.logprobs:
            body["logprobs"] = True
        return body if request.shape is None else body | written_shape(request.shape)


def _in_parts(prompt: Prompt) -> InParts | None:
    """Messages in parts where there is a picture among them; texts alone every server takes as they are."""
    return _picture if any(one.media for one in prompt.messages) else None


def _picture(medium: Medium) -> dict[str, Any]:
    if medium.data is None:
        what = f"prompt: {medium.source or 'an image'}: only the digest of this image is known here"
        raise EngineError(f"{what}. Give the image again.")
    url = f"data:image/png;base64,{base64.b64encode(medium.data).decode('ascii')}"
    return {"type": "image_url", "image_url": {"url": url}}


def written_shape(shape: Shape) -> dict[str, Any]:
    """What is sent for it. vLLM's older `guided_json` and its like would be ignored and nothing said."""
    if shape.schema is not None:
        form = {"name": "answer", "strict": True, "schema": held(json.loads(shape.schema), numbers=False)}
        return {"response_format": {"type": "json_schema", "json_schema": form}}
    return {"structured_outputs": {"choice": list(shape.choices)} if shape.choices else {"regex": shape.regex}}


NO_LIMIT = -1
"""What vLLM calls no top-k."""
PENALTIES = frozenset({"presence_penalty", "frequency_penalty"})
COMMON = frozenset({"temperature", "top_p", "stop"})
OF_VLLM = frozenset({"top_k", "min_p", "repetition_penalty", "logit_bias", "bad_words", "min_tokens", "stop_token_ids"})
OF_OPENAI = {
    "temperature": (0, 2),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "stop": (0, 4),
}
DIALECTS: Mapping[Name, Dialect] = MappingProxyType(
    {
        "openai": Dialect(
            COMMON | PENALTIES | {"logit_bias"},
            "max_completion_tokens",
            MappingProxyType(OF_OPENAI),
            shapes=frozenset({"schema"}),
        ),
        "vllm": Dialect(
            COMMON | PENALTIES | OF_VLLM,
            ranges=MappingProxyType({"temperature": (0, 2), **dict.fromkeys(PENALTIES, (-2, 2))}),
            own_order=False,  # ours is vLLM's
            shapes=frozenset(KINDS),
            fields=MappingProxyType({"return_token_ids": True}),
        ),
        "common": Dialect(COMMON, logprobs=False, tools=False),
    }
)
