"""Words: how a text is cut up to be searched, so that every store finds the same.

Each character of a script without spaces between words is a word of its own, and a piece of such a text is found as a
row of them: that finds two characters of Chinese where trigrams need three, and needs no dictionary. Case, accents and
width do not count (Unicode NFKD without its marks).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from vllm_flow.core.errors import StoreError

ALONE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"  # with the line above: Chinese and kana
    "\u2600-\u27bf\U0001f000-\U0001faff"  # pictures
)
WORD = re.compile(rf"[{ALONE}]|[^\W_{ALONE}]+")
AROUND = 60
"""Characters of a message that are shown where a word was found."""
PIECE = re.compile(r'"([^"]*)"|(\S+)')


def words_of(text: str) -> list[str]:
    """The words of a text as they are compared, in their order."""
    text = text.casefold()
    if not text.isascii():
        apart = unicodedata.normalize("NFKD", text)
        text = "".join(one for one in apart if not unicodedata.combining(one)).casefold()
    return WORD.findall(text)


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words, one behind the other."""

    words: tuple[str, ...]
    open: bool
    """Whether the last one may go on."""

    def is_in(self, words: Sequence[str]) -> bool:
        *first, last = self.words
        for place in range(len(words) - len(first)):
            end = words[place + len(first)]
            if (end.startswith(last) if self.open else end == last) and [*words[place : place + len(first)]] == first:
                return True
        return False


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: all of its phrases, in one message."""

    phrases: tuple[Phrase, ...]

    @classmethod
    def of(cls, text: str) -> Query:
        """Raises StoreError for a text without a word."""
        pieces = [(found[1] is None, words_of(found[1] or found[2] or "")) for found in PIECE.finditer(text)]
        phrases = tuple(Phrase(tuple(words), is_open) for is_open, words in pieces if words)
        if not phrases:
            raise StoreError(f"search {text!r}: there is no word in it. Write a word that was said.")
        return cls(phrases)

    def matches(self, text: str) -> bool:
        words = words_of(text)
        return all(phrase.is_in(words) for phrase in self.phrases)

    def around(self, text: str) -> str:
        """The piece of the text in which a word was found first, in one line."""
        text, first = " ".join(text.split()), tuple(phrase.words[0] for phrase in self.phrases)
        places = (one.start() for one in WORD.finditer(text) if "".join(words_of(one[0])).startswith(first))
        start = max(0, next(places, 0) - AROUND // 3)
        piece = text[start : start + AROUND]
        return f"{'…' if start else ''}{piece}{'…' if start + AROUND < len(text) else ''}"
