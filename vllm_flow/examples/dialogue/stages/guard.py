"""Guards: what must not be said is crossed out before anybody sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from vllm_flow import Completion, stage


@stage("guard/words")
@dataclass(frozen=True)
class Words:
    """The reply with some words crossed out."""

    words: tuple[str, ...] = ()
    """Whole words, in capitals or not."""
    mark: str = "█"
    """What is written for each letter."""

    def run(self, reply: Completion) -> Completion:
        pattern = rf"\b(?:{'|'.join(map(re.escape, self.words))})\b"
        text = re.sub(pattern, lambda found: self.mark * len(found[0]), reply.text, flags=re.IGNORECASE)
        return replace(reply, text=text)
