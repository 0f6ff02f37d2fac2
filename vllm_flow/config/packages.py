"""Packages: line 1 of a group's file says where its values go; a file that says it wrong lands in the wrong place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vllm_flow.config.files import ConfigFile
from vllm_flow.config.groups import GLOBAL, Group
from vllm_flow.config.keys import ONE_PLACE
from vllm_flow.config.layers import LOCAL, PRIMARY, SHIPPED
from vllm_flow.core.errors import Fault


def placement_faults(config_path: str, file: ConfigFile, groups: Mapping[str, Group]) -> Iterator[Fault]:
    """Everything that would put values into a place that is not theirs."""
    yield from _package_faults(config_path, file, groups)
    for entry in file.entries:
        written = entry.path[-1] if entry.text is None or len(entry.path) > 2 else entry.text
        if entry.path[0] == "defaults" and "@" in written and not written.startswith("override "):
            yield Fault(
                f"{file.label}:{entry.line}", f"{ONE_PLACE} Leave '@' out of '{written}', and write the values out."
            )


def _package_faults(config_path: str, file: ConfigFile, groups: Mapping[str, Group]) -> Iterator[Fault]:
    """A file whose package differs from that of the other files of its group."""
    place, _, name = config_path.removeprefix(f"{SHIPPED}/").rpartition("/")
    group = groups.get(place)
    if group is not None:
        wanted = group.package
    elif name == PRIMARY or place == LOCAL:
        wanted = GLOBAL
    else:
        return
    given = file.package or place.replace("/", ".") or GLOBAL
    if given not in (wanted, GLOBAL):
        why = f"the others of the group '{group.name}' have" if group else "the file needs"
        yield Fault(
            f"{file.label}:1", f"the values would go to '{given}'. Line 1 must be '# @package {wanted}', as {why}."
        )
