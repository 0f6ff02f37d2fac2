"""Rendering: from messages to the token ids a model reads, by the model's own chat template."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from vllm_flow.core.ledger import Measured
from vllm_flow.core.media import MediaKind, Medium
from vllm_flow.core.messages import Message
from vllm_flow.core.tool_prompts import function_json, has_tools, written_out
from vllm_flow.core.values import Prompt
from vllm_flow.engines.attribution import Encoded, measured
from vllm_flow.engines.chat_messages import chat_messages
from vllm_flow.engines.recent import Recent, Whose
from vllm_flow.engines.transformers.failures import no_tokens, refused_by_template
from vllm_flow.engines.transformers.words import Words
from vllm_flow.seam.seals import Seals
from vllm_flow.seam.skeleton import Reader, sealed
from vllm_flow.seam.template import sealed_template

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

    def __init__(self, tokenizer: Any, mark: Callable[[MediaKind], str] | None = None) -> None:
        """mark: what stands in the place of a medium, of a model that sees or hears.

        Its template takes what is said as a list of parts, and writes the marks; without one they are written here.
        """
        self._tokenizer, self._mark = tokenizer, mark
        self._in_parts = template_part if mark else None
        self.template = "chat" if tokenizer.chat_template else "none"
        self.tools = tools_in(tokenizer.chat_template)
        self._words = Words(tokenizer)
        given = tokenizer.special_tokens_map.items()
        seal = self._words.seals.seal
        self._sealed_names = {key: seal(one) if isinstance(one, str) else [*map(seal, one)] for key, one in given}
        """The variables by which templates are told of control tokens, such as `bos_token`."""
        self._sealed = Recent[str, str](lambda source: sealed_template(source, seal), len)
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
        return self._written(prompt)

    def encode(self, text: str) -> list[int]:
        """The text's token ids, with those that the tokenizer itself puts around it; control tokens by their names."""
        return list(self._words.read(text, special=True).encoded.ids)

    @property
    def begin(self) -> int | None:
        """The token that begins a text, if the tokenizer names one."""
        found = self._tokenizer.bos_token_id
        return None if found is None else int(found)

    def text_ids(self, text: str) -> list[int]:
        """The ids of a text by itself, as what a model says: without tokens that begin or end it, nor any control."""
        return list(self._words.read_as_text(text, special=False).ids)

    def _read_now(self, prompt: Prompt) -> Encoded:
        text = self.text(prompt)
        begun = self._templated(prompt) or (prompt.raw and text.startswith(self._tokenizer.bos_token or "\0"))
        read = self._words.read(text, special=not begun)
        encoded = read.encoded
        if read.control and not prompt.raw:
            reader = Reader(self._written, self._words.found)
            ours = sealed(self._words.seals, prompt, text, read.control, reader)
            encoded = encoded if ours is None else self._words.read_sealed(ours, special=not begun)
        if encoded.ids:
            return encoded
        if self.begin is None:
            raise no_tokens()
        return replace(encoded, ids=array("q", [self.begin]))

    def _measured_now(self, whose: Whose) -> Measured:
        tenant, prompt = whose
        return measured(prompt, lambda one: self._read((tenant, one)), self.text)

    def _templated(self, prompt: Prompt) -> bool:
        """Whether the model's template is applied; it then writes the tokens that begin a text, too."""
        return self.template == "chat" and not prompt.plain

    def _written(self, prompt: Prompt, seals: Seals | None = None) -> str:
        """With seals: where the control tokens of our side are."""
        if has_tools(prompt) and self.tools == "written":
            prompt = written_out(prompt, seals.seal if seals else str)
        if self._templated(prompt):
            return self._rendered(prompt, seals)
        return "\n".join(self._as_it_stands(message, seals) for message in prompt.messages)

    def _as_it_stands(self, message: Message, seals: Seals | None) -> str:
        if self._mark is None:
            return message.text
        ours = seals.seal if seals else str
        said = (ours(self._mark(one.kind)) if isinstance(one, Medium) else one.text for one in message.parts)
        return "".join(said)

    def _rendered(self, prompt: Prompt, seals: Seals | None) -> str:
        how: dict[str, Any] = {"tools": [function_json(one) for one in prompt.tools]} if prompt.tools else {}
        try:
            if seals:
                source = self._tokenizer.get_chat_template(None, how.get("tools"))
                how |= {"chat_template": self._sealed(source), **self._sealed_names}
            messages = chat_messages(prompt.messages, in_parts=self._in_parts)
            return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **how))
        except Exception as cause:
            raise refused_by_template(cause) from cause
