"""Verdicts: what a judge said of each pair, read back from its record, and whether it agrees with itself.

A preference counts where both orders agree; where they do not, or the judge calls a tie, the pair is one. A verdict
that could not be read is none, and so is its pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vllm_flow.core.errors import RecordError
from vllm_flow.core.recorded import read
from vllm_flow.evaluation.scores import Prompt
from vllm_flow.judge.pairing import First, Key

Preferred = Literal["point", "baseline", "tie"]
TIE = 0.5


@dataclass(frozen=True, slots=True)
class Reply:
    """One verdict of the judge's."""

    preferred: Preferred | None
    """None where it could not be read, or there is none."""
    failed: bool = False
    """Whether the judge has not answered."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Both verdicts on one pair: the point's answer shown first, and the baseline's."""

    point_first: Reply
    baseline_first: Reply

    @property
    def both(self) -> tuple[Preferred, Preferred] | None:
        one, other = self.point_first.preferred, self.baseline_first.preferred
        return None if one is None or other is None else (one, other)

    @property
    def score(self) -> float | None:
        """1: the point's answer, 0: the baseline's, 0.5: a tie. None without two verdicts."""
        if self.both is None:
            return None
        return {("point", "point"): 1.0, ("baseline", "baseline"): 0.0}.get(self.both, TIE)


@dataclass(frozen=True)
class Consistency:
    """How often a judge agrees with itself when the answers change places."""

    pairs: int
    """With two verdicts."""
    agreement: float | None
    """Share of pairs in which both orders say the same."""
    chance: float | None
    """What that would be of verdicts drawn blindly with the shares that the judge gave to point, baseline and tie
    (Scott 1955, Public Opinion Quarterly 19, 321-325)."""
    always_first: int
    """Pairs in which it chose whatever stood first."""
    always_second: int

    @classmethod
    def of(cls, pairs: Iterable[Pair]) -> Consistency:
        both = [one.both for one in pairs if one.both is not None]
        if not both:
            return cls(0, None, None, 0, 0)
        counts, said = Counter(both), Counter(choice for pair in both for choice in pair)
        agreement = sum(one == other for one, other in both) / len(both)
        chance = sum((count / (2 * len(both))) ** 2 for count in said.values())
        return cls(len(both), agreement, chance, counts["point", "baseline"], counts["baseline", "point"])

    @property
    def prefers_a_position(self) -> bool:
        """Whether, of the pairs that it judged by their order, it took one place at least twice as often."""
        less, more = sorted((self.always_first, self.always_second))
        return more > 0 and more >= 2 * less

    @property
    def no_better_than_chance(self) -> bool:
        """Then its verdicts say nothing of the answers. A judge that always says the same is no such case."""
        return self.agreement is not None and self.chance is not None and self.agreement <= min(self.chance, 1 - 1e-9)


def read_verdicts(folder: Path) -> dict[str, dict[Key, Pair]]:
    """By point and answer. Raises RecordError for what is no record of a judge."""
    found: dict[tuple[str, Key], dict[First, Reply]] = {}
    for row in read(folder).rows("results.jsonl"):
        if row["failure"] is not None and "reference" not in row:  # a question that could not be read
            continue
        try:
            about = row["reference"]
            key = Key(Prompt(about["conversation"], about["turn"]), about["sample"])
            found.setdefault((about["point"], key), {})[about["first"]] = _verdict(row, about["first"])
        except (KeyError, TypeError) as error:
            what = f"row {row.get('index')} is no verdict ({error}). Take the file as the run wrote it."
            raise RecordError(f"{folder / 'results.jsonl'}: {what}") from error
    pairs: dict[str, dict[Key, Pair]] = {}
    missing = Reply(None, failed=True)
    for (point, key), by_order in found.items():
        one = Pair(by_order.get("point", missing), by_order.get("baseline", missing))
        pairs.setdefault(point, {})[key] = one
    return pairs


def _verdict(row: dict[str, Any], first: First) -> Reply:
    if row["failure"] is not None:
        return Reply(None, failed=True)
    choice, second = row["value"]["choice"], "baseline" if first == "point" else "point"
    named: dict[str | None, Any] = {"A": first, "B": second, "tie": "tie", None: None}
    return Reply(named[choice])
