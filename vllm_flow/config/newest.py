"""The newest schedule of a sampling parameter: mappings of two files merge, and a parameter has one schedule.

So a preset's `{linear: …}` gives way to the `{cosine: …}` of an experiment or of the command line, as a number would.
Two of one name merge as any mappings do: `sampling.temperature.linear.to=0.5` changes one option of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from omegaconf import DictConfig, OmegaConf, flag_override

from vllm_flow.config.written import Value


def keep_newest_schedules(config: DictConfig, values: Iterable[Value]) -> None:
    """In place. `values` are all that were merged, in that order."""
    newest = {one.path[:2]: one.path[2] for one in values if len(one.path) > 2 and one.path[0] == "sampling"}
    for path, name in newest.items():
        merged = OmegaConf.select(config, ".".join(path), throw_on_resolution_failure=False)
        if isinstance(merged, DictConfig) and len(merged) > 1 and name in merged:
            with flag_override(merged, ["readonly", "struct"], False):
                for other in [key for key in merged if key != name]:
                    del merged[other]
