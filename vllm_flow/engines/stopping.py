"""Stop strings: found across token borders, and never half shown.

The rule does not depend on how the text is cut into tokens: read character by character, the stop string that is
complete first ends the text; of those complete at the same character the longest counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from vllm_flow.core.errors import EngineError


class StopScanner:
    """Passes text on, but holds back whatever may still become a stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        if "" in stops:
            raise EngineError("sampling.stop: an empty text would end every answer at once. Remove it.")
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def push(self, text: str, may_stop: bool = True) -> str:
        """What is certain to be visible after `text`. Once `stopped`, nothing more is.

        may_stop: whether a stop string that `text` completes ends the whole; else it is text like any other.
        """
        if self.stopped:
            return ""
        if not self._stops:
            return text
        seen = self._held + text
        known = len(self._held)  # what was complete in there did not count
        places = ((stop, seen.find(stop, max(0, known + 1 - len(stop)))) for stop in self._stops)
        found = [(start + len(stop), start) for stop, start in places if start >= 0]
        if found and may_stop:
            self.stopped, self._held = True, ""
            return seen[: min(found)[1]]
        certain = len(seen) - self._open_end(seen)
        self._held = seen[certain:]
        return seen[:certain]

    def flush(self) -> str:
        """What was held back, when no more text will come."""
        held, self._held = self._held, ""
        return held

    def _open_end(self, seen: str) -> int:
        """Length of the longest end of `seen` with which a stop string begins."""
        longest = min(len(seen), max(map(len, self._stops)) - 1)
        return next((n for n in range(longest, 0, -1) if any(s.startswith(seen[-n:]) for s in self._stops)), 0)
