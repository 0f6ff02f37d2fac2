"""The newest schedule of a sampling parameter: mappings of two files merge, and a parameter has one schedule.

So a preset's `{linear: …}` gives way to the `{cosine: …}` of an experiment or of the command line, as a number would.
Two of one name merge as any mappings do: `sampling.temperature.linear.to=0.5` changes one option of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from omegaconf import DictConfig, OmegaConf, flag_override

from vllm_flow.config.written import Keys, Value
from vllm_flow.core.ranges import RANGES

WITHIN = ("sampling", "graph")
MOVED = {*RANGES, "learning_rate"}
"""What a schedule may stand for, under `sampling` and in the options of a node."""


def keep_newest_schedules(config: DictConfig, values: Iterable[Value]) -> None:
    """In place. `values` are all that were merged, in that order."""
    newest = dict(pair for one in values for pair in _schedules(one.path))
    for path, name in newest.items():
        merged = OmegaConf.select(config, ".".join(path), throw_on_resolution_failure=False)
        if isinstance(merged, DictConfig) and len(merged) > 1 and name in merged:
            with flag_override(merged, ["readonly", "struct"], False):
                for other in [key for key in merged if key != name]:
                    del merged[other]


def _schedules(path: Keys) -> Iterator[tuple[Keys, str]]:
    """Each place of a schedule on the way to a value, and the schedule's name."""
    for place in range(1, len(path) - 1) if path[0] in WITHIN else ():
        if path[place] in MOVED:
            yield path[: place + 1], path[place + 1]
