"""One answer: what vLLM is asked for, and what becomes of the ids that it gives.

vLLM is told how to draw, unless that moves, and never how to end but by tokens: stop strings are found here, in the
text that every engine here makes of the same ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vllm_flow.core.errors import EngineError
from vllm_flow.core.sampling import NEUTRAL, Sampling
from vllm_flow.core.values import Finish, Request, Token, Usage
from vllm_flow.engines.openai.dialects import DIALECTS, SEED_BITS
from vllm_flow.engines.transformers.failures import check_room
from vllm_flow.engines.transformers.text import Saying
from vllm_flow.engines.transformers.vocabulary import Vocabulary
from vllm_flow.engines.vllm.load import Loaded
from vllm_flow.engines.vllm.steering import Steering

if TYPE_CHECKING:
    from vllm import RequestOutput, SamplingParams

COLDEST = 0.01
"""vLLM raises what lies between 0 and this, and says so only in its log."""
PLAIN = ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
"""Parameters that vLLM calls as we do, with the same values."""

UNSTEERED = (
    "sampling: it moves within the answer, and this vLLM runs its second model runner, which takes one value for a "
    "whole answer here. Set VLLM_USE_V2_MODEL_RUNNER=0 in the environment, or let it move `by: turn`."
)
UNSHAPED = (
    "the answer's shape: this vLLM runs its second model runner, which lets nobody touch the logits. Set "
    "VLLM_USE_V2_MODEL_RUNNER=0 in the environment, or choose another engine."
)


class Answer:
    """Raises EngineError, at once for a request that cannot be served."""

    def __init__(self, request: Request, loaded: Loaded) -> None:
        limits = request.schedule.at(0)
        self.prompt = loaded.renderer.ids(request.prompt, request.tenant)
        check_room(len(self.prompt), limits.max_tokens, loaded.context_length)
        self._steering: Steering | None = None
        self._shaping = None if request.shape is None else loaded.shapes.begin(request.shape)
        if request.schedule.moving or request.shape is not None:
            if not loaded.steers:
                raise EngineError(UNSHAPED if request.shape is not None else UNSTEERED)
            shaping = None if request.shape is None else loaded.shapes.begin(request.shape)
            self._steering = Steering(request, limits, self.prompt, loaded.vocabulary, shaping)
        self.params = _params(request, limits, loaded.vocabulary, self._steering)
        self._saying = Saying(loaded.decode, limits, loaded.vocabulary.end_ids)
        self._cached = 0

    def read(self, output: RequestOutput) -> Iterator[Token]:
        """The tokens that are new. After the one with the finish, vLLM need not go on."""
        (new,) = output.outputs
        self._cached = output.num_cached_tokens or self._cached
        logprobs: list[Mapping[int, Any] | None] = list(new.logprobs or [None] * len(new.token_ids))
        for token_id, known in zip(new.token_ids, logprobs, strict=True):
            token = self._take(token_id, None if known is None else min(0.0, known[token_id].logprob))
            yield token
            if token.finish:
                return
        if output.finished:
            what = f"vLLM ended the answer with '{new.finish_reason}' after {self._saying.tokens} tokens"
            raise EngineError(f"{what}, where stop or length is known. Report this.")

    def _take(self, token_id: int, logprob: float | None) -> Token:
        moved = self._steering.moved(self._saying.tokens) if self._steering else None
        if self._shaping is not None:
            self._shaping.take(token_id)
        said, reason = self._saying.take(token_id, self._shaping is not None and self._shaping.over)
        if reason is None:
            return Token(token_id, said, logprob, moved=moved)
        usage = Usage(len(self.prompt), self._saying.tokens)
        finish = Finish(reason, usage, self._cached, prompt_ids=tuple(self.prompt))
        return Token(token_id, said, logprob, finish, moved=moved)


def _params(request: Request, now: Sampling, vocabulary: Vocabulary, steering: Steering | None) -> SamplingParams:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    from vllm_flow.engines.vllm.processor import KEY

    told = NEUTRAL if steering else now
    if 0 < told.temperature < COLDEST:
        what = f"sampling.temperature: vLLM draws with {COLDEST} or more, and {told.temperature:g} is less"
        raise EngineError(f"{what}. Choose 0 for the most probable token, or {COLDEST}.")
    DIALECTS["vllm"].check(told)
    vocabulary.check(now)
    params = SamplingParams(
        **{name: getattr(told, name) for name in PLAIN},
        top_k=told.top_k or 0,
        logit_bias=dict(told.logit_bias) or None,
        min_tokens=min(told.min_tokens, now.max_tokens),
        max_tokens=now.max_tokens,
        stop_token_ids=sorted(vocabulary.end_ids.union(now.stop_token_ids)),
        seed=request.seed & SEED_BITS if told.temperature > 0 else None,
        logprobs=0 if request.logprobs else None,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
        extra_args={KEY: steering} if steering else None,
    )
    if told.bad_words:  # in our tokens: vLLM would leave out a spelling with a space that has more of them
        banned = [list(ids) for word in told.bad_words for ids in vocabulary.spellings(word)]
        params._bad_words_token_ids = banned
    return params
