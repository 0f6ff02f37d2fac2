"""Rendering: from messages to the token ids a model reads, by the model's own chat template."""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping
from typing import Any, Literal

from vllm_flow.core.ledger import Measured
from vllm_flow.core.media import Medium
from vllm_flow.core.tool_prompts import function_json, has_tools, written_out
from vllm_flow.core.values import Prompt
from vllm_flow.engines.attribution import Encoded, by_lengths, by_offsets, measured
from vllm_flow.engines.chat_messages import chat_messages
from vllm_flow.engines.recent import Recent, Whose
from vllm_flow.engines.transformers.failures import no_tokens, refused_by_template

TOOLS = re.compile(r"\btools\b")
"""The variable by which templates are told of them."""


def tools_in(template: Any) -> Literal["template", "written"]:
    """Whether a chat template knows of tools; where it does not, they are written out. Some models have several."""
    texts = [str(one) for one in (template.values() if isinstance(template, Mapping) else [template or ""])]
    return "template" if any(TOOLS.search(one) for one in texts) else "written"


def template_part(medium: Medium) -> dict[str, str]:
    """How templates are told of a medium."""
    return {"type": medium.kind}


class Renderer:
    """Renders with one tokenizer. May be used from several threads.

    A model without a chat template was not trained on roles: it reads the messages' texts, one after the other, with a
    newline between them and nothing else. `template` says which it is, for the record, and `tools` whether it has a
    form for them.
    """

    def __init__(self, tokenizer: Any, in_parts: bool = False) -> None:
        """in_parts: whether the template takes what is said as a list of parts, as those of models that see do."""
        self._tokenizer = tokenizer
        self._in_parts = template_part if in_parts else None
        self.template = "chat" if tokenizer.chat_template else "none"
        self.tools = tools_in(tokenizer.chat_template)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is not None:  # left on, each call would switch them off, which two threads cannot do at once
            backend.no_truncation()
            backend.no_padding()
        self._read = Recent[Whose, Encoded](lambda whose: self._read_now(whose[1]), lambda read: len(read.ids))
        self._measured = Recent[Whose, Measured](self._measured_now, lambda found: found.tokens)

    def ids(self, prompt: Prompt, tenant: str | None = None) -> list[int]:
        """The prompt's token ids, at least one. Raises EngineError when the template refuses the messages.

        tenant: whose it is, for whom it is remembered; of nobody's nothing is.
        """
        read = self._read_now(prompt) if tenant is None else self._read((tenant, prompt))
        return list(read.ids)

    def measure(self, prompt: Prompt, tenant: str = "") -> Measured:
        """What each part of the prompt takes of `ids`. Raises what that does."""
        return self._measured((tenant, prompt))

    def text(self, prompt: Prompt) -> str:
        """What is read, but for the tokens that the tokenizer itself puts around a text without a template."""
        if has_tools(prompt) and self.tools == "written":
            prompt = written_out(prompt)
        if self._templated(prompt):
            return self._rendered(prompt)
        return "\n".join(message.text for message in prompt.messages)

    def encode(self, text: str) -> list[int]:
        """The text's token ids, with those that the tokenizer itself puts around it."""
        return self._encode(text, special=True)

    @property
    def begin(self) -> int | None:
        """The token that begins a text, if the tokenizer names one."""
        found = self._tokenizer.bos_token_id
        return None if found is None else int(found)

    def text_ids(self, text: str) -> list[int]:
        """The ids of a text by itself, as what a model says: without tokens that begin or end it."""
        return self._encode(text, special=False)

    def _read_now(self, prompt: Prompt) -> Encoded:
        text = self.text(prompt)
        begun = self._templated(prompt) or (prompt.plain and text.startswith(self._tokenizer.bos_token or "\0"))
        how = {"add_special_tokens": not begun, "return_attention_mask": False, "return_token_type_ids": False}
        found = self._tokenizer(text, verbose=False, return_offsets_mapping=self._tokenizer.is_fast, **how)
        ids, offsets = found["input_ids"], found.get("offset_mapping", ())
        if not ids and self.begin is None:
            raise no_tokens()
        kept = array("q", ids or [self.begin])
        if self._tokenizer.is_fast:
            return Encoded(text, kept, by_offsets(text, offsets))
        return Encoded(text, kept, by_lengths(text, len(kept), lambda part: self._encode(part, special=not begun)))

    def _measured_now(self, whose: Whose) -> Measured:
        tenant, prompt = whose
        return measured(prompt, lambda one: self._read((tenant, one)), self.text)

    def _templated(self, prompt: Prompt) -> bool:
        """Whether the model's template is applied; it then writes the tokens that begin a text, too."""
        return self.template == "chat" and not prompt.plain

    def _encode(self, text: str, special: bool) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=special, verbose=False))

    def _rendered(self, prompt: Prompt) -> str:
        messages = chat_messages(prompt.messages, in_parts=self._in_parts)
        how = {"tools": [function_json(one) for one in prompt.tools]} if prompt.tools else {}
        try:
            return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **how))
        except Exception as cause:
            raise refused_by_template(cause) from cause
