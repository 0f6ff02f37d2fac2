"""Packages: line 1 of a group's file says where its values go; a file that says it wrong lands in the wrong place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vllm_flow.config.files import ConfigFile
from vllm_flow.config.groups import GLOBAL, Group
from vllm_flow.config.layers import PRIMARY, SHIPPED
from vllm_flow.core.errors import Fault


def package_faults(config_path: str, file: ConfigFile, groups: Mapping[str, Group]) -> Iterator[Fault]:
    """A file whose package differs from that of the other files of its group."""
    group = groups.get(config_path.removeprefix(f"{SHIPPED}/").rpartition("/")[0])
    name = config_path.rpartition("/")[2]
    if name == PRIMARY and group is None:
        wanted = GLOBAL
    elif group is None:
        return
    else:
        wanted = group.package
    default = group.name.replace("/", ".") if group else GLOBAL
    given = file.package or default
    if given not in (wanted, GLOBAL):
        place = f"the others of the group '{group.name}' have" if group else "the file needs"
        yield Fault(
            f"{file.label}:1", f"the values would go to '{given}'. Line 1 must be '# @package {wanted}', as {place}."
        )
