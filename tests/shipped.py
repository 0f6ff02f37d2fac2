"""What is shipped, written down once: tests that list it, and the one that reads the folder, compare with this."""

from __future__ import annotations

from vllm_flow.core.errors import listed

PIPELINES = (
    "adapt", "adaptive", "best_of", "caption", "complete", "dialogue", "guide", "judge", "listen", "most_likely",
    "news", "perplexity", "recommend", "review", "story", "support", "transcribe", "tutor", "vqa", "weather",
)  # fmt: skip


def pipelines(*own: str) -> str:
    """As messages list them, together with those of a project."""
    return listed(sorted((*PIPELINES, *own)))
