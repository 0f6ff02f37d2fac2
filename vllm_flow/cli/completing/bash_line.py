"""A line of bash up to the cursor, in the words that it means, and the piece of the last one that bash replaces.

bash breaks words for completion where it does not break them for commands: at `=` and `:` among others. It hands over
the whole line, and wants back what follows the last of these breaks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vllm_flow.cli.completing.candidates import Candidate

SPECIAL = re.compile(r"[^\w@%+=:,./~^-]")
PREFIXES = "@$"
"""Where bash breaks a word at one of these, it belongs to what follows."""
PROGRAM = "vllm-flow"


@dataclass(frozen=True, slots=True)
class BashLine:
    words: tuple[str, ...]
    """Behind the program's name, without quotes and backslashes; the last one not among them."""
    current: str
    """The word that ends at the cursor; empty behind a space."""
    kept: int
    """How many characters of it bash leaves as they are."""
    quote: str
    """The quotation mark that is still open."""

    @classmethod
    def of(cls, breaks: str, line: str) -> BashLine:
        words: list[str] = []
        word, kept, quote, begun = "", 0, "", False
        rest = iter(line)
        for char in rest:
            if char == "\\" and quote != "'":
                word, begun = word + next(rest, ""), True
            elif char == quote:
                quote = ""
            elif quote:
                word += char
            elif char in "'\"":
                quote, kept, begun = char, len(word), True
            elif char.isspace():
                words += [word] if begun else []
                word, kept, begun = "", 0, False
            else:
                kept = len(word) + (char not in PREFIXES) if char in breaks else kept
                word, begun = word + char, True
        names = [place for place, one in enumerate(words) if one.rpartition("/")[2].startswith(PROGRAM)]
        return cls(tuple(words[names[0] + 1 if names else 1 :]), word, kept, quote)

    def replacement(self, one: Candidate) -> str:
        """What bash is to write. A word that is complete brings its space; a quotation is bash's to end."""
        text = one.text[self.kept :]
        if self.quote == "'":
            text = text.replace("'", "'\\''")
        elif self.quote:
            text = re.sub(r'([$`"\\])', r"\\\1", text)
        else:
            text = SPECIAL.sub(lambda found: f"\\{found[0]}", text)
        return text if one.is_open or self.quote else f"{text} "
