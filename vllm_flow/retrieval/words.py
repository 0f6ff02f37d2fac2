"""Words: what keyword search compares, of languages with spaces between words and of those without.

Chinese, Japanese and Korean are cut into pairs of neighbouring characters, as Lucene's CJKAnalyzer does: that needs no
dictionary and finds every word of two characters or more. Texts have their single characters besides, so that a word of
one is found, too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

CJK = "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
RUN = re.compile(rf"(?P<cjk>[{CJK}]+)|[^\W_{CJK}]+(?:['’][^\W_{CJK}]+)*")


def words_of_text(text: str) -> list[str]:
    """Of a text to be found."""
    return [word for run, cjk in _runs(text) for word in ((*_pairs(run), *run) if cjk and len(run) > 1 else (run,))]


def words_of_question(text: str) -> list[str]:
    """Of what is looked for: no single character where a pair says more."""
    return [word for run, cjk in _runs(text) for word in (_pairs(run) if cjk and len(run) > 1 else (run,))]


def _runs(text: str) -> Iterator[tuple[str, bool]]:
    """Words, and whether each is a run of characters without spaces between words. Case and width do not count."""
    for found in RUN.finditer(unicodedata.normalize("NFKC", text).casefold()):
        yield found[0].replace("’", "'").removesuffix("'s"), found["cjk"] is not None


def _pairs(run: str) -> tuple[str, ...]:
    return tuple(run[place : place + 2] for place in range(len(run) - 1))
