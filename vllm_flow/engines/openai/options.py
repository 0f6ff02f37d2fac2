"""What can be set on the openai engine. The key is a reference; its value is read when the engine opens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Literal
from urllib.parse import urlsplit

from vllm_flow.core.errors import EngineError, FlowError
from vllm_flow.core.options import OptionProblem, above, at_least
from vllm_flow.core.registry import resource
from vllm_flow.core.resources import Capabilities, Engine
from vllm_flow.core.secrets import is_reference, reveal
from vllm_flow.engines.openai.dialects import DIALECTS, Name
from vllm_flow.models.spec import Model

CLIENT = "httpx2"
MISSING = f"the package {CLIENT} is not installed. Install it: pip install 'vllm-flow[openai]'"


@resource("engine/openai", shared=True)
@dataclass(frozen=True)
class OpenAI:
    """Asks a server that speaks OpenAI's chat completions: api.openai.com, vLLM, llama.cpp and others.

    Such a server streams texts. It has the tokenizer, so a prompt cannot be counted here, and token ids are known in
    the dialect `vllm` alone. What the server marks as reasoning is not part of the answer.
    """

    model: Model
    """Called by its `served`, else its `hub`."""
    base_url: str = "https://api.openai.com/v1"
    """Where the server is, up to what stands before /chat/completions."""
    api_key: str | None = None
    """`${secret:NAME}`: the environment variable with the key; null for a server that asks for none."""
    dialect: Name = "openai"
    """What the server understands. vllm takes most parameters; common only what nearly all servers take."""
    seeds: bool = True
    """Send a seed with each request that draws; false for a server that takes none."""
    media: tuple[Literal["image"], ...] = ("image",)
    """What the server's model reads beside texts: [image], or [] for one that reads only texts, for which pictures can
    be described. Sounds are never sent: they are kept as FLAC, which OpenAI's service does not take."""
    timeout_s: Annotated[float, above(0)] = 120.0
    """How long the server may be silent."""
    max_in_flight: Annotated[int, at_least(1)] = 64
    """How many requests are with the server at once; further ones wait."""
    retries: Annotated[int, at_least(0)] = 4
    """How often a request is sent again that failed in passing, with growing waits, as long as no token has come."""

    @property
    def served(self) -> str:
        """What the server calls the model; empty when nothing says it."""
        return self.model.served or self.model.hub or ""

    def problems(self) -> Iterator[OptionProblem | str]:
        for one in self.model.changed():
            yield OptionProblem(("model", *one.path), one.problem)
        if not self.served:
            problem = "nothing says what the server calls the model. Give model.served=NAME, or model=gpt."
            yield OptionProblem(("model",), problem)
        if problem := _url_problem(self.base_url):
            yield OptionProblem(("base_url",), problem)
        if self.api_key is not None and not is_reference(self.api_key):
            problem = "the key is written out. Write ${secret:NAME} and set the environment variable NAME."
            yield OptionProblem(("api_key",), problem)
        if find_spec(CLIENT) is None:
            yield f"{MISSING}."

    def capabilities(self) -> Capabilities:
        return DIALECTS[self.dialect].capabilities(self.seeds, frozenset(self.media))

    def open(self) -> Engine:
        """Start the client; nothing is sent yet. Raises EngineError when the key or the package is missing."""
        key = self._key()
        try:
            from vllm_flow.engines.openai.engine import OpenAIEngine
        except ModuleNotFoundError as cause:
            raise EngineError(f"engine openai: {MISSING}.") from cause
        return OpenAIEngine(self, key)

    def _key(self) -> str | None:
        try:
            return None if self.api_key is None else reveal(self.api_key)
        except FlowError as problem:
            none = "For a server that asks for none: engine.api_key=null."
            raise EngineError(f"engine openai ({self.base_url}): {problem} {none}") from None


def _url_problem(url: str) -> str:
    """Why no request can go there; empty when one can. What is wrong is not repeated: it may hold a password."""
    try:
        parts = urlsplit(url)
        port_is_none = parts.port == 0
    except ValueError:
        return "it is no address. Write one such as http://127.0.0.1:8000/v1."
    if parts.scheme not in ("http", "https") or not parts.hostname or port_is_none:
        return "it is no address. Write one such as http://127.0.0.1:8000/v1."
    if parts.username is not None or parts.password is not None:
        return "it holds a user's name, which would be written into every record. Leave it out; a key goes to api_key."
    if parts.query or parts.fragment:
        return "it has something behind the path. Leave out what follows the ? or #."
    return ""
