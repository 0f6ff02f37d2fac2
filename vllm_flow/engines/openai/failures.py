"""Failures of a server: what it answered, in one line with what would be right, and whether to ask again."""

from __future__ import annotations

import email.utils
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from vllm_flow.core.errors import ContextOverflow, EngineError

IN_PASSING = frozenset({408, 409, 429, *range(500, 600)}) - {501, 505}
"""Statuses that another attempt may not meet."""
FOR_GOOD = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""Codes of a 429 that no waiting mends."""
TOO_LONG = re.compile(r"context[ _](length|window|size)|(max_model_len|maximum model length)", re.I)
SHOWN = 300


class Passing(EngineError):
    """It failed, and may not fail when it is tried again."""

    def __init__(self, text: str, wait_s: float | None = None) -> None:
        super().__init__(text)
        self.wait_s = wait_s
        """How long the server asks to wait."""


@dataclass(frozen=True)
class Place:
    """Whose failure it is: what every message begins with and none may repeat."""

    base_url: str
    secret: str | None = None
    reference: str | None = None
    """How the configuration names the secret."""

    def error(self, what: str, right: str, kind: type[EngineError] = EngineError) -> EngineError:
        return kind(self.line(what, right))

    def line(self, what: str, right: str) -> str:
        """`where: what is wrong. What would be right.`, without the key, should a server say it back."""
        what = " ".join(what.split())
        if self.secret:
            what = what.replace(self.secret, "***")
        what = what[: SHOWN - 1] + "…" if len(what) > SHOWN else what
        return f"engine openai ({self.base_url}): {what.rstrip('.')}. {right}"

    def refusal(self, status: int, body: bytes, headers: Mapping[str, str]) -> EngineError:
        """What an answer means that is not 200."""
        said, code = _said(body)
        what = f"{status}: {said}" if said else str(status)
        if status in (400, 413, 422) and (code == "context_length_exceeded" or TOO_LONG.search(said)):
            right = "Choose context=window, a smaller sampling.max_tokens, or a model that reads more."
            return self.error(what, right, ContextOverflow)
        right = self._right(status, code)
        if status in IN_PASSING and code not in FOR_GOOD:
            return Passing(self.line(what, right), wait_s(headers.get("retry-after")))
        return self.error(what, right)

    def _right(self, status: int, code: str) -> str:
        if status in (401, 403):
            if self.reference is None:
                return "It asks for a key: set engine.api_key=${secret:NAME} and the environment variable NAME."
            return f"Set the environment variable of {self.reference} to a key that it takes."
        if status == 404:
            return "Set model.served to a model that it has, and engine.base_url to its address, up to /v1."
        if status == 429:
            if code in FOR_GOOD:
                return "Look at the account's limits; asking again does not help."
            return "Lower engine.max_in_flight, or raise engine.retries."
        if 300 <= status < 400:
            return "Set engine.base_url to where it moved."
        if status in IN_PASSING:
            return "Ask again later, or raise engine.retries."
        return "It does not take this request: choose another engine.dialect, or leave out the parameter that it names."


def _said(body: bytes) -> tuple[str, str]:
    """Message and code of an error's body; a page of HTML says nothing."""
    try:
        data = json.loads(body)
    except ValueError:
        text = body.decode("utf-8", "replace").strip()
        return ("" if text.startswith("<") else text), ""
    return message_of(data)


def message_of(data: Any) -> tuple[str, str]:
    """Message and code, as OpenAI nests them under `error`, or as others write them flat."""
    error = data.get("error", data) if isinstance(data, dict) else data
    if not isinstance(error, dict):
        return str(error), ""
    text = error.get("message") or error.get("detail") or ""
    return (text if isinstance(text, str) else json.dumps(text)), str(error.get("code") or error.get("type") or "")


def wait_s(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3); None when it says nothing readable."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        at = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
