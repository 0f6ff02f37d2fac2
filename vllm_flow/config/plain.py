"""Plain: from OmegaConf's containers to dicts and lists, with every value that cannot be had, and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from vllm_flow.config.written import Keys

Problem = tuple[Keys, str]
NO_NUMBER = "infinity and NaN are no numbers here. Write a finite one, or null."
ROUND = "a reference in here leads back to itself. Write a value instead."
UNSET = re.compile(r"Environment variable '(\w+)' not found")
WRAPPED = re.compile(r"\w+ raised while resolving interpolation: ")


def plain(config: DictConfig, keys: Iterable[str]) -> tuple[dict[str, Any], list[Problem]]:
    """The values of these keys, all references read; or the problems."""
    values: dict[str, Any] = {}
    problems: dict[Keys, str] = {}
    for key in keys:
        try:
            value = config[key]
            resolved = OmegaConf.is_config(value)
            values[key] = OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if resolved else value
        except (OmegaConfBaseException, RecursionError):
            problems.update(dict(_unresolved(config, key)) or {(key,): ROUND})
    problems.update((path, NO_NUMBER) for path in _no_numbers(values, ()))
    return values, list(problems.items())


def _unresolved(node: DictConfig | ListConfig, key: Any) -> Iterator[Problem]:
    """The problems of one value and of everything below it; what a reference reads is looked at in its own place."""
    path = tuple(str(node._get_full_key(key)).replace("[", ".").replace("]", "").strip(".").split("."))
    try:
        value = node[key]
    except MissingMandatoryValue:
        yield path, f"a value is missing. Write {'.'.join(path)}=…."
    except OmegaConfBaseException as error:
        yield path, _why(str(error.msg or error))
    except RecursionError:
        yield path, ROUND
    else:
        if isinstance(value, DictConfig | ListConfig) and not OmegaConf.is_interpolation(node, key):
            for below in value if isinstance(value, DictConfig) else range(len(value)):
                yield from _unresolved(value, below)


def _why(text: str) -> str:
    if unset := UNSET.search(text):
        name = unset[1]
        return f"the environment variable {name} is not set. Set it, or write ${{oc.env:{name},…}} with a default."
    first = WRAPPED.sub("", text.splitlines()[0]).rstrip(".")
    return f"{first}. Write a value, or the name of one that exists."


def _no_numbers(value: Any, path: Keys) -> Iterator[Keys]:
    """YAML and Python have infinity and NaN; JSON, in which runs are recorded and compared, has not."""
    if isinstance(value, float) and not isfinite(value):
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _no_numbers(item, (*path, str(key)))
