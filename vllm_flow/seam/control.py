"""Control tokens: which of a tokenizer's added tokens structure a prompt, so that nothing said may become one.

Not all of them are marked as special: DeepSeek's `<｜User｜>`, Qwen's `<tool_call>` and LLaVA's `<image>` are not, and
mean as much. So what is in doubt is control: whatever is special, whatever stands between brackets, and whatever the
chat template writes. The others are words that were added to the vocabulary, such as Phi's runs of spaces, or Gemma's
newlines and HTML tags: text is read with them, as the model was trained to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

BRACKETED = re.compile(r"<.+>|\[.+\]|\{.+\}|.*[|｜].*", re.DOTALL)
HTML = re.compile(
    r"</?(?:a|b|blockquote|br|caption|code|div|em|h[1-6]|hr|i|li|ol|p|pre|s|span|strong|sub|sup|table|tbody|td|tfoot|"
    r"th|thead|tr|u|ul)/?>"
)


def is_control(name: str, special: bool, template: str = "") -> bool:
    """template: the sources of the model's chat templates."""
    if special or not name:
        return special and bool(name)
    if name.isalnum() or not name.replace("▁", " ").strip():
        return False
    return name in template or bool(BRACKETED.fullmatch(name) and not HTML.fullmatch(name))


def control_tokens(tokenizer: Any) -> dict[int, str]:
    """Of a tokenizer of transformers: names by id."""
    written = tokenizer.chat_template or ""
    template = "\0".join(map(str, written.values())) if isinstance(written, Mapping) else str(written)
    named = set(getattr(tokenizer, "chat_control_tokens", None) or ())  # newer ones say which they are
    added = tokenizer.added_tokens_decoder.items()
    return {
        int(token_id): one.content
        for token_id, one in added
        if one.content in named or is_control(one.content, one.special, template)
    }
