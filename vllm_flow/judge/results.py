"""What the verdicts add up to: of each point the share of preferences over the baseline, and how far to trust it.

`judge.json` in the sweep's folder holds it for others to read, the report among them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm_flow.core.errors import RecordError
from vllm_flow.core.files import replaced
from vllm_flow.judge.asking import FOLDER, Sweep, told_of
from vllm_flow.judge.pairing import Key, Pairs, Why
from vllm_flow.judge.verdicts import TIE, Consistency, Pair, Reply

if TYPE_CHECKING:
    from vllm_flow.evaluation.statistics import Comparison, Comparisons

FILE = "judge.json"
FORMAT = 1
WORDS = {"better": "preferred", "worse": "baseline preferred"}
"""A judge's preference is an opinion, and not yet better or worse."""


@dataclass(frozen=True)
class Judged:
    """One point against the baseline."""

    name: str
    values: Mapping[str, str]
    preference: float | None
    """Share of pairs in which the point's answer is preferred, a tie counting half, each prompt counting once: 0.5 is
    no preference. None without a pair."""
    interval: tuple[float, float] | None
    """Of the preference; the intervals of all points hold together."""
    p_value: float | None
    smallest_detectable: float | None
    """The distance from 0.5 that would be found in about 80 of 100 such sweeps."""
    verdict: str
    """`preferred`, `baseline preferred`, `no difference shown` or `too few prompts`."""
    prompts: int
    wins: int
    ties: int
    """Identical answers, and pairs that the judge calls a tie or judges otherwise in the other order."""
    losses: int
    identical: int
    """Ties that nobody was asked about."""
    unanswered: int
    """Pairs of which an answer is missing, in the sweep."""
    asked_otherwise: int
    """Pairs whose questions differ."""
    unreadable: int
    """Verdicts that could not be read, of two for each pair that was asked."""
    failed: int
    """Verdicts that there are none of, because the judge's turn failed."""
    consistency: Consistency
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """All points that could be judged."""

    sweep: Sweep
    judge: Mapping[str, Any]
    """Who judged: pipeline and resources."""
    points: tuple[Judged, ...]
    consistency: Consistency
    """Over all points."""
    confidence: float
    method: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Tally:
    """One point: what became of each pair, and what the judge said of those it was asked about."""

    why: Mapping[Key, Why]
    verdicts: Mapping[Key, Pair]

    @property
    def scores(self) -> dict[Key, float]:
        """NaN: the pair has none."""
        found = {key: TIE if one == "identical" else math.nan for key, one in self.why.items()}
        return found | {key: pair.score for key, pair in self.verdicts.items() if pair.score is not None}

    @property
    def failed(self) -> int:
        asked = sum(one == "asked" for one in self.why.values())
        return sum(one.failed for one in self.replies) + 2 * (asked - len(self.verdicts))

    @property
    def replies(self) -> list[Reply]:
        return [one for pair in self.verdicts.values() for one in (pair.point_first, pair.baseline_first)]


def judgement(sweep: Sweep, pairs: Pairs, verdicts: Mapping[str, Mapping[Key, Pair]]) -> Judgement:
    tallies = {name: _Tally(why, verdicts.get(name, {})) for name, why in pairs.why.items()}
    compared = _compared([one.scores for one in tallies.values()])
    points = [
        _judged(name, sweep.values[sweep.names.index(name)], one, compared.of(place))
        for place, (name, one) in enumerate(tallies.items(), 1)
    ]
    every = Consistency.of(pair for one in tallies.values() for pair in one.verdicts.values())
    told = told_of(sweep.folder / FOLDER) if pairs.asked else {}
    problems = tuple(dict.fromkeys(pairs.problems))
    return Judgement(sweep, told, tuple(points), every, compared.confidence, compared.method, problems)


def _compared(scores: Sequence[Mapping[Key, float]]) -> Comparisons:
    """Against no preference, which is where the baseline stands: its answers are as good as themselves."""
    import numpy as np

    from vllm_flow.evaluation.statistics import compare

    keys = list(dict.fromkeys(key for one in scores for key in one))
    rows = {prompt: row for row, prompt in enumerate(dict.fromkeys(key.prompt for key in keys))}
    columns = {sample: column for column, sample in enumerate(sorted({key.sample for key in keys}))}
    table = np.full((1 + len(scores), max(1, len(rows)), max(1, len(columns))), math.nan)
    table[0] = TIE
    for place, one in enumerate(scores, 1):
        for key, score in one.items():
            table[place, rows[key.prompt], columns[key.sample]] = score
    return compare(table, baseline=0)


def _judged(name: str, values: Mapping[str, str], tally: _Tally, found: Comparison) -> Judged:
    counts, counted = Counter(tally.scores.values()), Counter(tally.why.values())
    limits = found.interval
    return Judged(
        name=name,
        values=values,
        preference=None if found.difference is None else TIE + found.difference,
        interval=None if limits is None else (max(0.0, TIE + limits.low), min(1.0, TIE + limits.high)),
        p_value=found.p_value,
        smallest_detectable=found.smallest_detectable,
        verdict=WORDS.get(found.verdict, found.verdict),
        prompts=found.num_prompts,
        wins=counts[1.0],
        ties=counts[TIE],
        losses=counts[0.0],
        identical=counted["identical"],
        unanswered=counted["unanswered"],
        asked_otherwise=counted["asked otherwise"],
        unreadable=sum(one.preferred is None and not one.failed for one in tally.replies),
        failed=tally.failed,
        consistency=Consistency.of(tally.verdicts.values()),
        notes=tuple(note for note in found.notes if "pairs are left out" not in note),  # counted above, with the reason
    )


def as_data(found: Judgement, trust: str, sentences: Sequence[str]) -> dict[str, Any]:
    """As JSON values: what `judge.json` holds and `--json` prints."""
    return {
        "format": FORMAT,
        "baseline": found.sweep.baseline,
        "judge": dict(found.judge),
        "points": [dataclasses.asdict(one) for one in found.points],
        "answers": {name: digest_of(folder) for name, folder in found.sweep.folders.items()},
        "left_out": dict(found.sweep.left_out),
        "consistency": dataclasses.asdict(found.consistency),
        "trust": trust,
        "confidence": found.confidence,
        "method": found.method,
        "sentences": list(sentences),
    }


def digest_of(folder: Path) -> str | None:
    """Of a point's answers, to know later whether they are still those that were judged. None where there are none."""
    try:
        with (folder / "results.jsonl").open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def read_data(folder: Path) -> dict[str, Any] | None:
    """What `judge.json` holds; None where there is none. Raises RecordError for one that cannot be read."""
    path = folder / FILE
    try:
        data = json.loads(path.read_bytes())
        if data["format"] != FORMAT:
            raise RecordError(f"{path}: another version wrote it. Judge again, or use that one.")
        return dict(data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: it cannot be read ({error}). Judge again.") from error


def write(data: Mapping[str, Any], folder: Path) -> Path:
    """`judge.json`, replaced whole. Raises RecordError when it cannot be written."""
    path = folder / FILE
    try:
        with replaced(path) as file:
            file.write(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise RecordError(f"{path}: it cannot be written: {error.strerror or error}. Free space.") from error
    return path
