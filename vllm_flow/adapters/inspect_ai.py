"""An Inspect model that answers with a pipeline: `inspect eval TASK --model vllm-flow/dialogue -M model=qwen`.

Inspect finds it by an entry point. What stands behind the slash is the pipeline, and each `-M` a word of our command.
Inspect sends each question by itself, with the sampling it is to have: whatever that is, one engine batches them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ContentText,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    TopLogprob,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from vllm_flow.adapters.variants import Variants
from vllm_flow.core.errors import ConfigError, EngineError, Fault, FlowError, listed, shown
from vllm_flow.core.messages import Message, Text
from vllm_flow.core.results import Result
from vllm_flow.core.values import Completion
from vllm_flow.session import Session, load

SAME = ("temperature", "top_p", "top_k", "max_tokens", "frequency_penalty", "presence_penalty", "logit_bias")
OTHERS = ("stop_seqs", "seed", "num_choices", "logprobs", "top_logprobs")
INSPECTS = (
    "max_retries", "timeout", "attempt_timeout", "stream_idle_timeout", "max_connections", "adaptive_connections",
    "system_message", "max_tool_output", "reasoning_history", "fail_on_refusal", "cache",
)  # fmt: skip
"""What Inspect itself sees to, around whatever model it asks."""
STOPS = {"stop": "stop", "length": "max_tokens", "interrupted": "unknown"}
ROLES = ("system", "user", "assistant")


@modelapi("vllm-flow")
class FlowAPI(ModelAPI):  # type: ignore[misc]  # inspect-ai is not there when this is checked
    """Answers Inspect with a session's pipeline; what the task does not say of sampling stays the session's own.

    A `session` that is handed in, `get_model("vllm-flow/dialogue", session=session, memoize=False)`, is its caller's to
    close. Needs Inspect's asyncio backend.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        session: Session | None = None,
        **configuration: Any,
    ) -> None:
        """Raises ConfigError with every fault of the configuration."""
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        if base_url:
            raise FlowError(f"--model-base-url {base_url}: say it with -M engine=openai -M engine.base_url={base_url}.")
        self._own = session is None
        words = [f"{key}={shown(value) if isinstance(value, bool) else value}" for key, value in configuration.items()]
        self._session = load(model_name, words, record=False) if session is None else session
        self._variants = Variants(self._session)

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002  Inspect's word
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Raises ConfigError for what cannot be honoured, and EngineError when there is no answer."""
        if tools:
            raise FlowError(f"inspect: the tools {listed(one.name for one in tools)} cannot be called here. Use none.")
        messages = [_message(one) for one in input]
        await asyncio.to_thread(self._session.open)
        variant = self._variants.at(
            _sampling(config),
            seed=config.seed,
            logprobs=bool(config.logprobs),
            top_logprobs=config.top_logprobs or 0,
        )
        results = await variant.answers([variant.question(messages) for _ in range(config.num_choices or 1)])
        if (failed := next((one.failure for one in results if one.failure), None)) is not None:
            if failed.kind == "ContextOverflow":
                return ModelOutput.from_content(self.model_name, "", "model_length", failed.message)
            raise EngineError(failed.message)
        choices = [self._choice(one, bool(config.logprobs)) for one in results]
        return ModelOutput(model=self.model_name, choices=choices, usage=_usage(results))

    def max_connections(self) -> int:
        return self._session.spec.concurrency

    def close(self) -> None:
        self._variants.close()
        if self._own:
            self._session.close()

    def _choice(self, result: Result, logprobs: bool) -> ChatCompletionChoice:
        message = ChatMessageAssistant(content=result.text, model=self.model_name, source="generate")
        value = result.value
        if not isinstance(value, Completion):
            return ChatCompletionChoice(message=message, stop_reason="unknown")
        known = self._logprobs(value) if logprobs else None
        return ChatCompletionChoice(message=message, stop_reason=STOPS[value.finish_reason], logprobs=known)

    def _logprobs(self, answer: Completion) -> Logprobs:
        engine = self._session.opened("engine")
        if not hasattr(engine, "decode"):
            raise EngineError("inspect: logprobs: the engine does not say the text of a token. Leave them out.")
        likelihoods = answer.likelihoods or (None,) * len(answer.token_ids)
        content = [
            Logprob(
                token=engine.decode([one]),
                logprob=logprob,
                top_logprobs=[TopLogprob(token=other.text, logprob=other.raw_logprob) for other in likely.alternatives]
                if likely
                else None,
            )
            for one, logprob, likely in zip(answer.token_ids, answer.logprobs or (), likelihoods, strict=True)
        ]
        return Logprobs(content=content)


def _sampling(config: GenerateConfig) -> dict[str, Any]:
    """Sampling parameters. Raises ConfigError with everything that has no meaning here."""
    asked = {name: value for name, value in config.model_dump().items() if value not in (None, [], {})}
    faults = [
        Fault(f"GenerateConfig.{name}", f"{shown(value)} has no meaning here. Leave it out.")
        for name, value in asked.items()
        if name not in (*SAME, *OTHERS, *INSPECTS) and value is not False
    ]
    if asked.get("top_logprobs") and not asked.get("logprobs"):
        faults.append(Fault("GenerateConfig.top_logprobs", "it does nothing by itself. Set logprobs=True beside it."))
    if faults:
        raise ConfigError(faults)
    found = {name: asked[name] for name in SAME if name in asked}
    return found | ({"stop": list(asked["stop_seqs"])} if "stop_seqs" in asked else {})


def _message(given: ChatMessage) -> Message:
    if given.role not in ROLES:
        raise FlowError(f"inspect: there is no role '{given.role}' here. Roles are: {listed(ROLES)}.")
    parts = [ContentText(text=given.content)] if isinstance(given.content, str) else given.content
    if strange := [part.type for part in parts if not isinstance(part, ContentText)]:
        raise FlowError(f"inspect: a message has a part of type '{strange[0]}'. Send text.")
    return Message(given.role, tuple(Text(part.text) for part in parts))


def _usage(results: Sequence[Result]) -> ModelUsage | None:
    """The prompt counted once, whatever the number of answers; None where the engine or the pipeline does not say."""
    usages = [one.value.usage for one in results if isinstance(one.value, Completion)]
    read = usages[0].prompt_tokens if usages else None
    said = [one.completion_tokens for one in usages if one.completion_tokens is not None]
    if read is None or len(said) < len(results):
        return None
    return ModelUsage(input_tokens=read, output_tokens=sum(said), total_tokens=read + sum(said))
