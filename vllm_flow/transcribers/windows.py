"""Windows: the stretches of a recording that the model hears one at a time, and what it says of when things were said.

Where the model stops early the rest of the window is a window of its own, as in Whisper's own way through a long
recording (arXiv:2212.04356, section 4.5); unless the next window hears it anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

ENOUGH_S = 1.0
"""So much of the next window has to be heard in this one, too, for their texts to be joined."""


@dataclass(frozen=True, slots=True)
class Window:
    """In seconds of the recording."""

    start_s: float
    end_s: float
    next_s: float | None
    """Where the next one begins, that overlaps with it; None for the last."""
    skip_s: float = 0.0
    """So much of it has been heard before: where the model begins, after the start."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What was said between two times of the window, as tokens."""

    start_s: float
    end_s: float
    ids: tuple[int, ...]


def windows(
    seconds: float, window_s: float, overlap_s: float, quietest: Callable[[float, float], float]
) -> list[Window]:
    """Of a recording. All but the last are whole, and overlap with the next by `overlap_s` to twice as much.

    quietest: where between two times the recording is quietest. There the next window begins: a model that is to begin
    in the middle of a word or of a sentence now and then loses all of what it hears.
    """
    starts = [0.0]
    while (end := starts[-1] + window_s) < seconds:
        starts.append(quietest(end - 2 * overlap_s, end - overlap_s))
    ends = [min(start + window_s, seconds) for start in starts]
    return [Window(*one) for one in zip(starts, ends, [*starts[1:], None], strict=True)]


def rest(window: Window, reached_s: float | None) -> Window | None:
    """What of the window has to be heard once more, when the model came so far in it; None: nothing."""
    if reached_s is None or window.start_s + reached_s >= window.end_s:
        return None
    if window.next_s is not None and window.start_s + reached_s >= window.next_s + ENOUGH_S:
        return None
    if reached_s <= window.skip_s:
        return None  # it came nowhere, and would do so again
    return Window(window.start_s, window.end_s, window.next_s, reached_s)


@dataclass(frozen=True, slots=True)
class Told:
    """What the model wrote down of what it heard."""

    pieces: tuple[Piece, ...]
    unfinished: Piece | None = None
    """What stands behind the last time; the model had not come to its end."""
    reached_s: float | None = None
    """How far it came, where there is something unfinished; None: to the end."""


def told(ids: Sequence[int], first_time: int, step_s: float, heard_s: float) -> Told:
    """Times are in seconds from where the model began; `heard_s` is how long it heard.

    first_time: the token of 0 seconds; each later one is `step_s` further. Two times in a row end a piece and begin the
    next; behind the last such pair an unfinished piece may stand.
    """
    times = [(one - first_time) * step_s if one >= first_time else None for one in ids]
    cuts = [place for place in range(1, len(ids)) if times[place - 1] is not None and times[place] is not None]
    found = [_piece(ids[start:stop], times[start:stop], first_time, heard_s)
             for start, stop in zip([0, *cuts], [*cuts, len(ids)], strict=True)]  # fmt: skip
    said = tuple(one for one in found if one.ids)
    if not cuts or (times[-1] is not None and times[-2] is None):
        return Told(said)
    last = found[-1]
    return Told(tuple(one for one in said if one is not last), last if last.ids else None, times[cuts[-1] - 1])


def _piece(ids: Sequence[int], times: Sequence[float | None], first_time: int, heard_s: float) -> Piece:
    begin, end = (times[0], times[-1] if len(times) > 1 else None) if times else (None, None)
    start_s = min(heard_s, begin or 0.0)
    end_s = heard_s if end is None else min(heard_s, max(start_s, end))
    return Piece(start_s, end_s, tuple(one for one in ids if one < first_time))
