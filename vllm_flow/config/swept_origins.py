"""Where a sweep is written. Values of its points are overrides, which by themselves are all of the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from vllm_flow.config.origins import Origins
from vllm_flow.config.written import COMMAND_LINE
from vllm_flow.core.errors import ConfigError, Fault

SECTION = "sweep"


@contextmanager
def placed(origins: Origins) -> Iterator[None]:
    """Faults of the section `sweep`, and of the keys it sweeps over, say which line that is."""
    try:
        yield
    except ConfigError as error:
        of_section = {".".join(path): origin for path, origin in origins.items() if path[0] == SECTION != path[-1]}
        swept = {key: origin for path, origin in origins.items() if (key := _swept(path))}
        raise ConfigError(_placed(fault, of_section, swept) for fault in error.faults) from error


def _swept(path: tuple[str, ...]) -> str:
    """The key that a place in the section sweeps over; empty for any other place."""
    match path:
        case ("sweep", "grid" | "zip", *key) | ("sweep", "points", _, *key):
            return ".".join(key)
    return ""


def _placed(fault: Fault, of_section: Mapping[str, str], swept: Mapping[str, str]) -> Fault:
    if not fault.origin and fault.path.partition(".")[0] == SECTION:
        return replace(fault, origin=_nearest(fault.path, of_section))
    written = _nearest(fault.path, swept)
    if written and fault.origin.startswith(COMMAND_LINE):
        return replace(fault, origin=fault.origin.replace(COMMAND_LINE, written, 1))
    return fault if fault.origin else replace(fault, origin=written)


def _nearest(path: str, origins: Mapping[str, str]) -> str:
    while path:
        if path in origins:
            return origins[path]
        path = path.rpartition(".")[0]
    return ""
