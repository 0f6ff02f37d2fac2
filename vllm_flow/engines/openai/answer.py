"""An answer as it streams in: from the JSON of its chunks to tokens.

How an answer ended and what it used come after its last token, so the finish is a token by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from vllm_flow.core.tool_text import CLOSE, OPEN
from vllm_flow.core.values import Finish, FinishReason, Request, Token, Usage
from vllm_flow.engines.openai.dialects import Dialect
from vllm_flow.engines.openai.failures import Passing, Place, message_of

REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "tool_calls": "stop"}
AGAIN = "Ask again."
COMMON = "Choose engine.dialect=common."


class Answer:
    """One answer, chunk by chunk."""

    def __init__(self, place: Place, dialect: Dialect, request: Request) -> None:
        self._place = place
        self._dialect = dialect
        self._request = request
        self._reason: str | None = None
        self._usage: dict[str, Any] = {}
        self._texts = self._ids = self._logprobs = 0
        self._calls: dict[int, dict[str, str]] = {}
        """Name and arguments of each call by its place, as far as they came."""

    def read(self, text: str) -> list[Token]:
        """The tokens of one chunk. Raises EngineError."""
        try:
            chunk = json.loads(text)
            if chunk.get("error"):
                raise Passing(self._place.line(f"it broke the answer off: {message_of(chunk)[0]}", AGAIN))
            if usage := chunk.get("usage"):
                self._usage = dict(usage)
            return [token for choice in chunk.get("choices") or () for token in self._of_choice(choice)]
        except (AttributeError, KeyError, TypeError, ValueError) as cause:
            what = f"it streams what is no chunk of an answer: {text[:80]}"
            raise self._place.error(what, "Set engine.base_url to a server that speaks as OpenAI's does.") from cause

    def _of_choice(self, choice: dict[str, Any]) -> Iterator[Token]:
        delta = choice.get("delta") or {}
        if refusal := delta.get("refusal"):
            raise self._place.error(f"the model refuses: {refusal}", "Change the prompt.")
        ids = choice.get("token_ids") or [] if self._dialect.token_ids else []
        logprobs = (choice.get("logprobs") or {}).get("content") or [] if self._request.logprobs else []
        self._reason = choice.get("finish_reason") or self._reason
        for piece in delta.get("tool_calls") or ():
            known = self._calls.setdefault(piece.get("index") or 0, {"name": "", "arguments": ""})
            for key in known:
                known[key] += (piece.get("function") or {}).get(key) or ""
        text = delta.get("content") or ""
        yield from self._tokens(str(text), list(map(int, ids)), [min(0.0, float(one["logprob"])) for one in logprobs])

    def end(self) -> Token:
        """The finish, when no chunk will come any more. Raises EngineError when the answer is not whole."""
        if self._reason is None:
            said = f"after {self._texts} pieces of text" if self._texts else "before the answer began"
            raise Passing(self._place.line(f"the stream ended {said}, without a finish", AGAIN))
        if self._reason == "content_filter":
            raise self._place.error("its content filter held the answer back", "Change the prompt.")
        if self._reason not in REASONS:
            what = f"it ended the answer with '{self._reason}', where stop or length is known"
            raise self._place.error(what, COMMON)
        usage = self._used()
        self._check(usage)
        return Token(None, self._called(), None, Finish(REASONS[self._reason], usage, self._cached()))

    def _called(self) -> str:
        """Calls that the server has taken out of the text, put back into it in the one form."""
        texts = []
        for one in (self._calls[place] for place in sorted(self._calls)):
            said = f'{{"name": {json.dumps(one["name"])}, "arguments": {one["arguments"] or "{}"}}}'
            texts.append(f"{OPEN}\n{said}\n{CLOSE}")
        return "\n".join(["", *texts] if self._texts and texts else texts)

    def _tokens(self, text: str, ids: list[int], logprobs: list[float]) -> Iterator[Token]:
        """One chunk may hold several tokens; its text is then that of the last one."""
        last = max(len(ids), len(logprobs), 1 if text else 0) - 1
        self._texts, self._ids = self._texts + bool(text), self._ids + len(ids)
        self._logprobs += len(logprobs)
        for place in range(last + 1):
            yield Token(
                ids[place] if place < len(ids) else None,
                text if place == last else "",
                logprobs[place] if place < len(logprobs) else None,
            )

    def _used(self) -> Usage:
        prompt, completion = (_whole(self._usage.get(name)) for name in ("prompt_tokens", "completion_tokens"))
        return Usage(prompt, self._ids if completion is None and self._ids else completion)

    def _cached(self) -> int:
        details = self._usage.get("prompt_tokens_details")
        return (_whole(details.get("cached_tokens")) if isinstance(details, dict) else None) or 0

    def _check(self, usage: Usage) -> None:
        """A server may read what it does not know and say nothing. Raises EngineError when that can be seen."""
        written, limit = usage.completion_tokens or 0, self._request.schedule.at(0).max_tokens
        if written > limit:
            what = f"it wrote {written} tokens, where {limit} were allowed: it does not know {self._dialect.limit}"
            raise self._place.error(what, COMMON)
        if self._dialect.token_ids and written and not self._ids:
            raise self._place.error("it streams no token ids, as a vLLM server would", COMMON)
        if self._request.logprobs and written and not self._logprobs:
            raise self._place.error("it streams no log-probabilities", "Remove `logprobs`, or choose another engine.")


def _whole(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
