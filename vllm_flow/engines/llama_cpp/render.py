"""Rendering: from messages to the token ids that a GGUF file's model reads, by the template in the file."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any

import llama_cpp
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from vllm_flow.core.ledger import Measured
from vllm_flow.core.tool_prompts import function_json, has_tools, written_out
from vllm_flow.core.values import Prompt
from vllm_flow.engines.attribution import Encoded, by_lengths, by_pieces, measured
from vllm_flow.engines.chat_messages import chat_messages
from vllm_flow.engines.recent import Recent, Whose
from vllm_flow.engines.transformers.failures import no_tokens, refused_by_template
from vllm_flow.engines.transformers.render import tools_in
from vllm_flow.seam.control import is_control
from vllm_flow.seam.seals import Seals, check_no_seals, in_pieces
from vllm_flow.seam.skeleton import Reader, sealed
from vllm_flow.seam.template import sealed_template

TEMPLATE = "tokenizer.chat_template"
UNKNOWN, CONTROL, ADDED = 1, 8, 16
"""LLAMA_TOKEN_ATTR_UNKNOWN, _CONTROL, _USER_DEFINED."""


@dataclass(frozen=True, slots=True)
class _How:
    """A text is read: control tokens by their names, and without the token that begins a text."""

    special: bool
    begun: bool


class GgufRenderer:
    """From messages to token ids, by the template and the vocabulary in the file.

    A file without a template reads the messages' texts, one after the other, with a newline between them.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._bos = model.token_bos()
        written = model.metadata.get(TEMPLATE)
        self.template = "chat" if written else "none"
        self.tools = tools_in(written)
        begin, end = (self._word(one) for one in (self._bos, model.token_eos()))
        self._seals = Seals(_control_tokens(model, written or ""))
        self._format = _formatter(written, begin, end)
        self._sealed_format = _formatter(written, begin, end, self._seals)
        self._read = Recent[Whose, Encoded](lambda whose: self._read_now(whose[1]), lambda read: len(read.ids))

    def ids(self, prompt: Prompt, tenant: str | None = None) -> list[int]:
        """The prompt's token ids, at least one. Raises EngineError when the template refuses the messages.

        tenant: whose it is, for whom it is remembered; of nobody's nothing is.
        """
        read = self._read_now(prompt) if tenant is None else self._read((tenant, prompt))
        return list(read.ids)

    def measure(self, prompt: Prompt, tenant: str = "") -> Measured:
        return measured(prompt, lambda one: self._read((tenant, one)), self.text)

    def _read_now(self, prompt: Prompt) -> Encoded:
        text = self.text(prompt)
        templated = self._format is not None and not prompt.plain
        begun = templated or (prompt.raw and text.startswith(self._word(self._bos) or "\0"))
        how = _How(templated or prompt.raw, begun)
        found = self._tokens(text, how)
        if not prompt.raw and (control := self._seals.spelled(text)):
            ours = sealed(self._seals, prompt, text, control, Reader(self._written, self._seals.spelled))
            found = found if ours is None else self._read_sealed(ours, how.begun)
        if not found and self._bos >= 0:
            found = [self._bos]
        if not found:
            raise no_tokens()
        pieces = [bytes(self._model.detokenize([one], special=True)) for one in found]
        lengths = by_lengths(text, len(found), lambda part: self._tokens(part, how))
        return Encoded(text, array("q", found), by_pieces(text, pieces) or lengths)

    def _read_sealed(self, sealed: str, begun: bool) -> list[int]:
        as_text = _How(special=False, begun=True)
        ids = in_pieces(self._seals, sealed, lambda said: self._tokens(said, as_text))
        return ids if begun else [*self._tokens("", _How(special=False, begun=False)), *ids]

    def _read_as_text(self, text: str, begun: bool) -> list[int]:
        """Of somebody else: nothing in it is a control token, nor one that llama.cpp counts among the words."""
        if not self._seals.spelled(text):
            return self._tokens(text, _How(special=False, begun=begun))
        check_no_seals(text)
        return self._read_sealed(text, begun)

    def text(self, prompt: Prompt) -> str:
        return self._written(prompt)

    def _written(self, prompt: Prompt, seals: Seals | None = None) -> str:
        """With seals: where the control tokens of our side are."""
        if has_tools(prompt) and self.tools == "written":
            prompt = written_out(prompt, seals.seal if seals else str)
        if self._format is None or prompt.plain:
            return "\n".join(message.text for message in prompt.messages)
        return self._rendered(prompt, self._sealed_format if seals else self._format)

    @property
    def begin(self) -> int | None:
        return self._bos if self._bos >= 0 else None

    def encode(self, text: str) -> list[int]:
        return self._read_as_text(text, begun=False)

    def text_ids(self, text: str) -> list[int]:
        return self._read_as_text(text, begun=True)

    def _tokens(self, text: str, how: _How) -> list[int]:
        data = text.encode("utf-8", "replace")  # llama.cpp reads no half surrogate pairs
        return [int(one) for one in self._model.tokenize(data, add_bos=not how.begun, special=how.special)]

    def _rendered(self, prompt: Prompt, template: Any) -> str:
        messages: Any = chat_messages(prompt.messages)
        tools: Any = [function_json(one) for one in prompt.tools] or None
        try:
            return str(template(messages=messages, tools=tools).prompt)
        except Exception as cause:
            raise refused_by_template(cause) from cause

    def _word(self, token_id: int) -> str:
        return str(self._model._model.token_get_text(token_id)) if token_id >= 0 else ""


def _formatter(written: str | None, begin: str, end: str, seals: Seals | None = None) -> Any:
    """What renders by the file's template; None without one."""
    if not written:
        return None
    if seals:
        written, begin, end = sealed_template(written, seals.seal), seals.seal(begin), seals.seal(end)
    return Jinja2ChatFormatter(written, eos_token=end, bos_token=begin)


def _control_tokens(model: Any, template: str) -> dict[int, str]:
    """Names by id."""
    words, found = llama_cpp.llama_model_get_vocab(model.model), dict[int, str]()
    for token_id in range(model.n_vocab()):
        kind = int(llama_cpp.llama_vocab_get_attr(words, token_id))
        if kind & (UNKNOWN | CONTROL | ADDED):
            name = str(model._model.token_get_text(token_id))
            if is_control(name, bool(kind & (UNKNOWN | CONTROL)), template):
                found[token_id] = name
    return found
