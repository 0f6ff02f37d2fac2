"""The newest schedule of a sampling parameter: mappings of two files merge, and a parameter has one schedule.

So a preset's `{linear: …}` gives way to the `{cosine: …}` of an experiment or of the command line, as a number would.
Two of one name merge as any mappings do: `sampling.temperature.linear.to=0.5` changes one option of it. Two that are
written beside each other both stay, for that is a mistake which the parameter itself refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from omegaconf import DictConfig, OmegaConf, flag_override

from vllm_flow.config.written import Keys, Value
from vllm_flow.core.ranges import RANGES

FROM = {"sampling": 1, "graph": 2}
"""At which key of a path a parameter's name may stand: the first below `graph` is a node's, whatever it is called."""
MOVED = {*RANGES, "learning_rate"}
"""What a schedule may stand for, under `sampling` and in the options of a node."""


def keep_newest_schedules(config: DictConfig, values: Iterable[Value]) -> None:
    """In place. `values` are all that were merged, in that order."""
    for path, names in _newest(values).items():
        merged = OmegaConf.select(config, ".".join(path), throw_on_resolution_failure=False)
        if isinstance(merged, DictConfig) and not names.isdisjoint(merged):
            with flag_override(merged, ["readonly", "struct"], False):
                for other in [key for key in merged if key not in names]:
                    del merged[other]


def _newest(values: Iterable[Value]) -> dict[Keys, set[str]]:
    """By the place of each schedule the name that was written last, with those beside it in the same mapping."""
    found: dict[Keys, set[str]] = {}
    files: dict[Keys, str] = {}
    for one in values:
        file = one.origin.rpartition(":")[0]  # nothing of the command line
        if one.path in found:  # the whole of it is written anew
            found[one.path] = set()
        for place, name in _schedules(one.path):
            others = found.get(place, set()) if files.get(place) == file else set()
            found[place], files[place] = {*others, name}, file
    return found


def _schedules(path: Keys) -> Iterator[tuple[Keys, str]]:
    """Each place of a schedule on the way to a value, and the schedule's name."""
    for place in range(FROM.get(path[0], len(path)), len(path) - 1):
        if path[place] in MOVED:
            yield path[: place + 1], path[place + 1]
