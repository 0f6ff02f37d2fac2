"""A search: Optuna proposes points and is told what came of each. Trials are kept in a file, so that it can go on.

What a trial proposes depends on the seed, its number and the trials that were told before it, and on nothing that a
process remembers: a search that was interrupted proposes what it would have proposed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vllm_flow.core.errors import ConfigError, Fault, RecordError
from vllm_flow.core.files import replaced
from vllm_flow.sweep.settings import Search

FILE = "search.json"
TRIALS = "trials.journal"
MISSING = "the package optuna is not installed. Install it: pip install 'vllm-flow[optuna]'."
KEPT = "point"
"""The attribute of a trial that says in which folder it was run."""


@dataclass(frozen=True)
class Among:
    """One of several places on an axis, each a tuple of overrides."""

    name: str
    places: tuple[tuple[str, ...], ...]

    def distribution(self) -> Any:
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution([" ".join(place) for place in self.places])

    def place(self, chosen: Any) -> tuple[str, ...]:
        return next(place for place in self.places if " ".join(place) == chosen)


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, both included."""

    name: str
    low: float
    high: float
    step: float | None = None
    log: bool = False
    whole: bool = False

    def distribution(self) -> Any:
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return FloatDistribution(self.low, self.high, step=self.step, log=self.log)

    def place(self, chosen: Any) -> tuple[str, ...]:
        number = chosen if self.whole else min(max(float(f"{chosen:.6g}"), self.low), self.high)
        return (f"{self.name}={number}",)


Dimension = Among | Between


@dataclass(frozen=True)
class Proposed:
    """A trial that is to be run, or was when the search was interrupted."""

    trial: int
    overrides: tuple[str, ...]
    point: Path | None
    """Where it was to be run."""


class Trials:
    """The trials of one search."""

    def __init__(self, settings: Search, space: Sequence[Dimension], folder: Path, seed: str) -> None:
        """Raises ConfigError when the storage holds another search, or cannot be used."""
        self.settings, self.space, self.folder, self.seed = settings, space, folder, seed
        self._study = _opened(settings, folder)
        self._asked: dict[int, Any] = {}
        self._points: dict[int, str] = {}
        said = {"space": [asdict(one) for one in space], "metric": settings.metric, "direction": settings.direction}
        said = json.loads(json.dumps(said))
        if self._study.user_attrs.setdefault("search", said) != said:
            problem = (
                "the file holds trials of another search: its keys, metric or direction differ. Name another file."
            )
            raise ConfigError([Fault("sweep.search.storage", problem)])
        self._study.set_user_attr("search", said)

    def ask(self, count: int) -> list[Proposed]:
        """The next trials, as many as are left of `count`."""
        asked = []
        distributions = {one.name: one.distribution() for one in self.space}
        first = len(self._trials)
        for number in range(first, min(first + count, self.settings.trials)):
            self._study.sampler = _sampler(self.settings.sampler, self.seed, number)
            trial = self._study.ask(distributions)
            self._asked[trial.number] = trial
            asked.append(Proposed(trial.number, self._overrides(trial.params), None))
        return asked

    def begun(self, proposed: Proposed, point: Path) -> None:
        """Where the trial is run, which is kept with it."""
        # Other sweeps may share a storage that was named; one that lies in the folder can be moved with it.
        kept = str(point if self.settings.storage else self._below(point))
        self._points[proposed.trial] = kept
        if proposed.trial in self._asked:
            self._asked.pop(proposed.trial).set_user_attr(KEPT, kept)

    def tell(self, proposed: Proposed, value: float | None) -> None:
        """None is a trial that failed."""
        from optuna.trial import TrialState

        if value is None:
            self._study.tell(proposed.trial, state=TrialState.FAIL)
        else:
            self._study.tell(proposed.trial, value)

    def open(self) -> list[Proposed]:
        """Trials that were asked for and never told, of this sweep or of none that is known."""
        found = []
        for one in self._trials:
            point = self.folder / one.user_attrs[KEPT] if KEPT in one.user_attrs else None
            if not one.state.is_finished() and (point is None or point.parent == self.folder):
                found.append(Proposed(one.number, self._overrides(one.params), point))
        return found

    @property
    def have_values(self) -> bool:
        """Whether there is any value to go by."""
        return any(one.state.name == "COMPLETE" for one in self._trials)

    def write(self) -> None:
        """What came of each trial so far, the best first, to `search.json`."""
        trials = [self._row(one) for one in self._trials if one.state.is_finished()]
        sign = -1 if self.settings.direction == "maximize" else 1
        best = sorted((one for one in trials if one["value"] is not None), key=lambda one: sign * one["value"])
        failed = [one for one in trials if one["value"] is None]
        content = {**asdict(self.settings), "done": len(trials), "ranked": [*best, *failed]}
        try:
            with replaced(self.folder / FILE) as file:
                file.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            raise RecordError(f"{self.folder / FILE}: it cannot be written: {error.strerror}. Free space.") from error

    @property
    def _trials(self) -> list[Any]:
        return list(self._study.get_trials(deepcopy=False))

    def _row(self, one: Any) -> dict[str, Any]:
        value = one.value if one.state.name == "COMPLETE" else None
        kept = self._points.get(one.number, one.user_attrs.get(KEPT))
        point = kept and self._below(self.folder / kept).as_posix()
        return {"point": point, "value": value, "overrides": self._overrides(one.params)}

    def _below(self, point: Path) -> Path:
        return point.relative_to(self.folder) if point.is_relative_to(self.folder) else point

    def _overrides(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(line for one in self.space for line in one.place(params[one.name]))


@dataclass(frozen=True)
class Best:
    """The best point that a search has found."""

    point: Path
    value: float
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """What a search has come to, as its folder says."""

    metric: str
    done: int
    trials: int
    best: Best | None

    @classmethod
    def read(cls, folder: Path) -> Found | None:
        """None for a folder of no search."""
        try:
            kept = json.loads((folder / FILE).read_text(encoding="utf-8"))
            first = [one for one in kept["ranked"][:1] if one["value"] is not None]
            best = [Best(folder / one["point"], one["value"], tuple(one["overrides"])) for one in first]
            return cls(kept["metric"], kept["done"], kept["trials"], best[0] if best else None)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{folder / FILE}: it cannot be read ({error}). Name another sweep.") from None


def need_optuna() -> None:
    """Raises ConfigError where it is not installed."""
    if find_spec("optuna") is None:
        raise ConfigError([Fault("sweep.search", MISSING)])


def _opened(settings: Search, folder: Path) -> Any:
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = Path(settings.storage).expanduser() if settings.storage else folder / TRIALS
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        storage = JournalStorage(JournalFileBackend(str(path), JournalFileOpenLock(str(path))))
        return optuna.create_study(
            storage=storage, study_name="search", direction=settings.direction, load_if_exists=True
        )
    except (OSError, ValueError, KeyError) as error:
        problem = f"{path} cannot be used ({error}). Name another file."
        raise ConfigError([Fault("sweep.search.storage", problem)]) from error


def _sampler(name: str, seed: str, number: int) -> Any:
    from optuna.samplers import RandomSampler, TPESampler

    own = int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4], "big")
    return RandomSampler(own) if name == "random" else TPESampler(seed=own, constant_liar=True)
