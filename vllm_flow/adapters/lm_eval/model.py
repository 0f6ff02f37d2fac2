"""The model that lm-eval asks: its generation requests are turns of a pipeline, its likelihoods scores of the engine.

lm-eval hands over what a model is to *read*, rendered by a chat template or not. So the pipeline for it is `complete`,
which adds nothing. One that makes a chat of what it is told (`dialogue`) can be asked, too: each question is then what
the user says, and lm-eval is not to apply a template of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window, simple_parse_args_string

from vllm_flow.adapters.lm_eval.sampling import sampling_of
from vllm_flow.adapters.variants import Variants
from vllm_flow.core.errors import EngineError, FlowError, listed
from vllm_flow.core.likelihoods import Scored
from vllm_flow.core.messages import Message, Text, user
from vllm_flow.core.results import Result
from vllm_flow.core.values import Prompt
from vllm_flow.session import Session, load
from vllm_flow.session.background import Background
from vllm_flow.stages.fuse import Plain

T = TypeVar("T")
Ids = tuple[int, ...]
Asked = tuple[Ids | None, Ids | str]
"""What stands before, and what is scored."""
UNSAID_DEVICE = "cuda:0"
"""What lm-eval's command passes on when its user says nothing of a device."""
ROLES = ("system", "user", "assistant")


@runtime_checkable
class Reader(Protocol):
    """An engine that says what its model reads, so that a text can be scored as lm-eval cuts it."""

    def prompt_ids(self, prompt: Prompt) -> list[int]: ...

    def prompt_text(self, prompt: Prompt) -> str: ...


@register_model("vllm-flow")
class FlowLM(LM):  # type: ignore[misc]  # lm-eval is not there when this is checked
    """Answers lm-eval with a session's pipeline, all requests of a kind at once. Closing the session is the caller's.

    What lm-eval says of sampling counts, and of what it does not mention the session's own stays. engine: the name of
    the resource that log-likelihoods are asked of.
    """

    def __init__(self, session: Session | None = None, *, engine: str = "engine", **configuration: Any) -> None:
        """Without a session one is made of `configuration`, the words of the command: pipeline, model, engine.dtype, …

        Raises ConfigError with every fault of it.
        """
        super().__init__()
        if session is None:
            pipeline = str(configuration.pop("pipeline", "complete"))
            words = [f"{key}={_written(value)}" for key, value in configuration.items()]
            session = load(pipeline, words, record=False)
        elif configuration:
            raise FlowError(f"FlowLM: a session has its configuration already. Leave out: {listed(configuration)}.")
        self.session = session
        self._engine = engine

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: Mapping[str, Any], additional_config: Mapping[str, Any] | None = None
    ) -> Self:
        """As lm-eval's `--model_args` say it. Batching is the engine's own, so `--batch_size` has no meaning."""
        if (device := (additional_config or {}).get("device")) not in (None, UNSAID_DEVICE):
            raise FlowError(f"--device {device}: the engine has it. Say engine.device={device} in --model_args.")
        return cls(**arg_dict)

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: Mapping[str, Any] | None = None) -> Self:
        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    def generate_until(self, requests: Sequence[Instance]) -> list[str]:
        """The texts up to the stop strings. Those that are sampled alike are one variant of the session.

        Raises ConfigError for arguments that cannot be honoured, and EngineError when requests have no answer.
        """
        ways: dict[str, tuple[dict[str, Any], list[int]]] = {}
        for place, one in enumerate(requests):
            sampling = sampling_of(one.args[1])
            ways.setdefault(repr(sorted(sampling.items())), (sampling, []))[1].append(place)
        with Variants(self.session) as variants:
            works = []
            for sampling, places in ways.values():
                variant = variants.at(sampling)
                turns = [variant.question((user(requests[place].args[0]),)) for place in places]
                works.append(partial(variant.answers, turns))
            answers = self._all(works)
        found = [""] * len(requests)
        for (_, places), results in zip(ways.values(), answers, strict=True):
            for place, text in zip(places, _texts(results), strict=True):
                found[place] = text
                self.cache_hook.add_partial("generate_until", requests[place].args, text)
        return found

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        """Of each continuation: its log-probability after the context, and whether greedy decoding would say it."""
        reader = self._reader()
        asked = [_cut(reader, *one.args) for one in requests]
        found = [(one.logprob, all(one.greedy)) for one in self._scored(asked)]
        for one, answer in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood", one.args, answer)
        return found

    def loglikelihood_rolling(self, requests: Sequence[Instance]) -> list[float]:
        """The log-probability of each whole text, in windows as long as the model reads; see Scored.prompt_tokens."""
        reader = self._reader()
        length = int(self._live().describe()["context_length"])
        windows = [_windows(reader, one.args[0], length) for one in requests]
        scores = iter(self._scored([one for several in windows for one in several]))
        found = [sum((next(scores).logprob for _ in several), 0.0) for several in windows]
        for one, answer in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", one.args, answer)
        return found

    def apply_chat_template(self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        """The messages in the template of the engine's model, up to where its answer begins.

        Without `add_generation_prompt` the last message is the beginning of that answer. Raises FlowError when the
        pipeline applies the template itself.
        """
        self._must_be_plain(
            "its questions are in the chat template already",
            "Leave --apply_chat_template out, or choose pipeline=complete",
        )
        messages = [_message(one) for one in chat_history]
        begun = "" if add_generation_prompt else messages.pop().text
        return self._reader().prompt_text(Prompt(tuple(messages))) + begun

    def chat_template(self, chat_template: bool | str = False) -> str:
        """What lm-eval's log says of the template: the model's own is the only one."""
        if isinstance(chat_template, str):
            raise FlowError(
                f"--apply_chat_template {chat_template}: a model has one template here. Leave the name out."
            )
        return str(self._live().describe().get("template", "")) if chat_template else ""

    @property
    def tokenizer_name(self) -> str:
        """Names the tokenizer and its template in the keys of lm-eval's cache of requests."""
        facts = self._live().describe()
        return f"vllm-flow--{facts['model']}--{facts.get('weights', '')}"

    def _all(self, works: Iterable[Callable[[], Awaitable[T]]]) -> list[T]:
        """What they give when all are done at once. Ctrl-C stops them."""

        async def together() -> list[T]:
            return list(await asyncio.gather(*(work() for work in works)))

        background = Background("vllm-flow lm-eval")
        try:
            return background.run(together)
        finally:
            background.close(_nothing)

    def _scored(self, asked: Sequence[Asked]) -> list[Scored]:
        """Equal ones are scored once: the points of a sweep ask the same."""
        different = list(dict.fromkeys(asked))
        score = self.session.ascore
        scores = self._all([partial(score, text, before, self._engine) for before, text in different])
        known = dict(zip(different, scores, strict=True))
        return [known[one] for one in asked]

    def _live(self) -> Any:
        self.session.open()
        return self.session.opened(self._engine)

    def _reader(self) -> Reader:
        """The engine. Raises FlowError when it does not know what its model reads, or the pipeline adds to that."""
        self._must_be_plain("log-likelihoods are those of the text alone", "Choose pipeline=complete")
        engine = self._live()
        if engine is None:
            raise FlowError(f"lm-eval: the pipeline reads no resource '{self._engine}'. Name the engine it reads.")
        if not isinstance(engine, Reader):
            name = engine.describe().get("engine")
            raise EngineError(
                f"lm-eval: the engine '{name}' has no tokenizer here. Choose another, such as engine=transformers."
            )
        return engine

    def _must_be_plain(self, why: str, right: str) -> None:
        nodes = self.session.pipeline.graph.nodes
        if not any(isinstance(node.stage, Plain) for node in nodes):
            what = f"the pipeline '{self.session.spec.name}' does not read texts as they stand (fuse/plain), but {why}"
            raise FlowError(f"lm-eval: {what}. {right}.")


async def _nothing() -> None:
    pass


def _cut(reader: Reader, context: str, continuation: str) -> Asked:
    """The token ids of both, cut where lm-eval does: as one text, with spaces before the words that follow them."""
    kept = context.rstrip()
    if not kept:
        return None, context + continuation
    before = _ids(reader, kept)
    return tuple(before), tuple(_ids(reader, context + continuation)[len(before) :])


def _windows(reader: Reader, text: str, length: int) -> list[Asked]:
    """lm-eval's own windows; what stands before the first is the engine's to choose."""
    ids = _ids(reader, text) if text else []
    cut = [make_disjoint_window(one) for one in get_rolling_token_windows(ids, 0, length, 1)]
    return [(tuple(before) if place else None, tuple(after)) for place, (before, after) in enumerate(cut)]


def _ids(reader: Reader, text: str) -> list[int]:
    return reader.prompt_ids(Prompt((user(text),), plain=True))


def _message(given: Mapping[str, str]) -> Message:
    role, content = given["role"], given["content"]
    if role not in ROLES:
        raise FlowError(f"lm-eval: there is no role '{role}' here. Roles are: {listed(ROLES)}.")
    return Message(role, (Text(content),))  # type: ignore[arg-type]  # it is one of them


def _texts(results: Sequence[Result]) -> list[str]:
    """Raises EngineError, with the first reason, when there are requests without an answer."""
    if failed := [one for one in results if one.failure is not None]:
        reason = failed[0].failure.message if failed[0].failure else ""
        raise EngineError(f"lm-eval: {len(failed)} of {len(results)} requests have no answer. The first: {reason}")
    return [one.text for one in results]


def _written(value: Any) -> str:
    """A value of `--model_args`, which lm-eval has read as Python, as the command line has it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
