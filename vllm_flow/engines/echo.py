"""The echo engine: says the user's words back. For tests, for wiring pipelines, for a first run without weights."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import re
import zlib
from bisect import bisect_right
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from vllm_flow.core.errors import EngineError
from vllm_flow.core.ledger import Measured
from vllm_flow.core.likelihoods import Alternative, Scored, TokenLikelihood
from vllm_flow.core.media import Audio, Image
from vllm_flow.core.messages import Message, Part
from vllm_flow.core.moving import SIGNALS, Signal
from vllm_flow.core.registry import resource
from vllm_flow.core.resources import Capabilities
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Course
from vllm_flow.core.shape import KINDS, parsed
from vllm_flow.core.taking import check_plain
from vllm_flow.core.tool_prompts import has_tools, written_out
from vllm_flow.core.values import Before, Finish, FinishReason, InForce, Prompt, Request, Token, Usage
from vllm_flow.engines.instance import instance
from vllm_flow.engines.stopping import StopScanner

PIECE = re.compile(r"\s*\S+|\s+")
"""A word with the whitespace before it, or the whitespace at the end."""


CERTAIN: Mapping[Signal, float] = {"entropy": 0.0, "surprise": 0.0}
"""What it tells schedules: it is never undecided."""


def pieces(text: str) -> list[str]:
    """The tokens of `text`; joined they are `text` again."""
    return PIECE.findall(text)


def token_id(piece: str) -> int:
    """CRC-32 of the UTF-8 bytes: the same in every process."""
    return zlib.crc32(piece.encode("utf-8", "surrogatepass"))


@resource("engine/echo", shared=True)
@dataclass(frozen=True)
class Echo:
    """Says the newest user message back, word by word; needs no weights.

    All probability is on one token, so temperature, cuts and penalties change nothing, each token's logprob is 0, and
    `max_tokens`, `stop` and `stop_token_ids` end the answer as they do everywhere. Logit bias, bad words and min tokens
    would make it say something else, so it does not honour them. What is to have a shape and has none in the message
    is a short example of it instead, always the same.
    """

    def capabilities(self) -> Capabilities:
        names = frozenset(field.name for field in dataclasses.fields(Sampling))
        honoured = names - {"logit_bias", "bad_words", "min_tokens"}
        known: dict[str, Any] = dict.fromkeys(("logprobs", "likelihoods", "score", "measures", "moves", "tools"), True)
        known |= {"shapes": frozenset(KINDS), "media": frozenset({"image", "audio"})}
        return Capabilities(sampling=honoured, signals=SIGNALS, **known)

    def open(self) -> EchoEngine:
        return EchoEngine()


class EchoEngine:
    """Stateless: requests share nothing."""

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        check_plain(self, request)
        # One pause a request lets others start, so that many are in flight as with a real engine; more would cost time.
        await asyncio.sleep(0)
        for token in _answer(request, _ids(request.prompt)):
            yield token

    async def score(self, prompt: Before, completion: str | tuple[int, ...], tenant: str = "") -> Scored:
        """Certain of what it would say, and of nothing else; without a prompt, of any text: it would say that again.

        After token ids it would say those.
        """
        await asyncio.sleep(0)
        ids = tuple(map(token_id, pieces(completion))) if isinstance(completion, str) else completion
        if not ids:
            raise EngineError("the text to score: it has no tokens. Give a text.")
        said, read = ids, 0
        if isinstance(prompt, Prompt) and prompt.messages:
            said, read = tuple(map(token_id, pieces(_newest_user_text(prompt)))), self.count(prompt)
        elif isinstance(prompt, tuple) and prompt:
            said, read = prompt, len(prompt)
        certain = tuple(place < len(said) and said[place] == one for place, one in enumerate(ids))
        logprobs = tuple(0.0 if one else -math.inf for one in certain)
        return Scored(ids, logprobs, (0.0,) * len(ids), certain, read)

    def count(self, prompt: Prompt) -> int:
        """Pieces over all messages."""
        return len(_ids(prompt))

    def measure(self, prompt: Prompt, tenant: str = "") -> Measured:
        """There is no template: its parts are all of a prompt."""
        parts = tuple(_shares([_part_text(part) for part in message.parts]) for message in prompt.messages)
        said, read = sum(map(sum, parts)), self.count(prompt)
        return Measured(read, parts, max(0, read - said))

    def describe(self) -> Mapping[str, Any]:
        return {"engine": "echo", "model": "echo"}

    def close(self) -> None:
        pass


def _ids(prompt: Prompt) -> tuple[int, ...]:
    """Tools are read as they are written out."""
    messages = written_out(prompt).messages if has_tools(prompt) else prompt.messages
    return tuple(token_id(piece) for message in messages for piece in pieces(_message_text(message)))


def _message_text(message: Message) -> str:
    return "".join(map(_part_text, message.parts))


def _part_text(part: Part) -> str:
    """Of a picture or a sound how large it is."""
    match part:
        case Image():
            return f"[image {part.width}x{part.height}]"
        case Audio():
            return f"[audio {part.seconds:.1f} s]"
    return part.text


def _shares(texts: Sequence[str]) -> tuple[int, ...]:
    """How many pieces of the texts put together begin in each of them: a word, and not the space before it."""
    ends, counts = list(accumulate(map(len, texts))), [0] * len(texts)
    for piece in PIECE.finditer(whole := "".join(texts)):
        blank = len(piece[0]) - len(piece[0].lstrip())
        begin = piece.start() + (blank if piece.start() + blank < len(whole) else 0)
        counts[bisect_right(ends, begin)] += 1
    return tuple(counts)


def _answer(request: Request, prompt: tuple[int, ...]) -> Iterator[Token]:
    sampling, course = request.schedule.at(0), Course(request.schedule)
    scanner = StopScanner(sampling.stop)
    said = pieces(_said(request)) or [""]
    last, ids = min(len(said), sampling.max_tokens) - 1, tuple(map(token_id, said))
    for index, piece in enumerate(said[: last + 1]):
        ended = token_id(piece) in sampling.stop_token_ids
        text = "" if ended else scanner.push(piece)
        logprob, likelihood = _certain(piece, request) if request.logprobs else (None, None)
        course.next(index, ids[:index], CERTAIN)
        moved = InForce(course.values, course.signals) if course.values else None
        if index < last and not (ended or scanner.stopped):
            yield Token(token_id(piece), text, logprob, None, likelihood, moved)
            continue
        # Saying everything is this model's end of sequence; a word left unsaid is not.
        reason: FinishReason = "stop" if ended or scanner.stopped or index == len(said) - 1 else "length"
        finish = Finish(reason, Usage(len(prompt), index + 1), prompt_ids=prompt)
        yield Token(token_id(piece), text + scanner.flush(), logprob, finish, likelihood, moved)
        return


def _certain(piece: str, request: Request) -> tuple[float, TokenLikelihood]:
    """Of a token that has all probability: no other is an alternative, whatever the sampling."""
    only = Alternative(token_id(piece), piece, 0.0, 0.0)
    return 0.0, TokenLikelihood(0.0, 0.0, 0.0, (only,) if request.top_logprobs else ())


def _said(request: Request) -> str:
    text = _newest_user_text(request.prompt)
    if request.shape is None or parsed(request.shape, text, cut=False).problem is None:
        return text
    return instance(request.shape)


def _newest_user_text(prompt: Prompt) -> str:
    return next((_message_text(message) for message in reversed(prompt.messages) if message.role == "user"), "")
