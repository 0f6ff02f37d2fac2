"""Where a sweep is written. Values of its points are overrides, which by themselves are all of the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from vllm_flow.config.written import COMMAND_LINE, Keys, Value
from vllm_flow.core.errors import ConfigError, Fault

SECTION = "sweep"


def as_swept(values: Mapping[Keys, Value]) -> dict[Keys, Value]:
    """Values of the command line that the section `sweep` put there have its origins."""
    swept = _swept({path: one.origin for path, one in values.items()})
    if not swept:
        return dict(values)
    placed = {path: _nearest(".".join(path), swept) for path, one in values.items() if one.origin == COMMAND_LINE}
    return {path: replace(one, origin=placed.get(path) or one.origin) for path, one in values.items()}


@contextmanager
def placed(origins: Mapping[Keys, str]) -> Iterator[None]:
    """Faults of the section `sweep`, and of the keys it sweeps over, say which line that is."""
    try:
        yield
    except ConfigError as error:
        of_section = {".".join(path): origin for path, origin in origins.items() if path[0] == SECTION != path[-1]}
        swept = _swept(origins)
        raise ConfigError(_placed(fault, of_section, swept) for fault in error.faults) from error


def _swept(origins: Mapping[Keys, str]) -> dict[str, str]:
    """Where the keys are written that the section sweeps over. Of one that several lines have, only the file."""
    found: dict[str, str] = {}
    for path, origin in origins.items():
        match path:
            case ("sweep", "grid" | "zip", *key) | ("sweep", "points", _, *key) if key:
                known = found.setdefault(".".join(key), origin)
                if known != origin:
                    found[".".join(key)] = origin.rpartition(":")[0] or origin
    return found


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
