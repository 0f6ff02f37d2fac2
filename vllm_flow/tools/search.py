"""Search in the documents of the graph: what shares the rarest words with what the model asks for (BM25)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from vllm_flow.core.errors import ToolError
from vllm_flow.core.library import Library
from vllm_flow.core.options import at_least
from vllm_flow.core.registry import tool
from vllm_flow.retrieval.scores import by_words, nearest


@tool("search")
@dataclass(frozen=True)
class Search:
    """The passages of the documents that are about something, each with its source."""

    passages: Annotated[int, at_least(1)] = 3
    """How many to find at most."""

    def call(self, query: str, library: Library) -> str:
        """
        Args:
            query: What to look for, in a few words.
        """
        hits = nearest(by_words(query, [one.text for one in library.passages], keep=True), self.passages, 0.0)
        if not hits:
            raise ToolError(f"no passage has anything of '{query}'. Use other words, or say that it is not there")
        found = (library.passages[hit.place] for hit in hits)
        return "\n\n".join(f"[{one.source}] {one.text}" for one in found)
