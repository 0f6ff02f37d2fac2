"""Whether a part can be named in a configuration, and its options be written there and read again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vllm_flow.core import options
from vllm_flow.core.codec import encode
from vllm_flow.core.json_text import decode
from vllm_flow.core.option_checks import own_problems, problems
from vllm_flow.core.registry import Entry, Registry
from vllm_flow.testing.compare import difference, require


def registered(kind: Registry, part: Any) -> Entry:
    """The name of a part's class, and what was said with it. Raises AssertionError when it has none."""
    name = part.__name__ if isinstance(part, type) else type(part).__name__
    require(not isinstance(part, type), f"{name} is a class. Give an instance of it: {name}(…).")
    entry = kind.of(type(part))
    if entry is None:
        form = "name" if kind.words else "role/manner"
        raise AssertionError(f"{name}: it is not registered. Put @{kind.kind}('{form}') above the class.")
    return entry


def option_problems(name: str, part: Any) -> Iterator[str]:
    """What keeps these options from being written in a configuration and read from it again."""
    from jsonschema import Draft202012Validator, SchemaError

    cls: type = type(part)
    try:
        Draft202012Validator.check_schema(options.schema_of(cls))
        written = decode(encode(options.written(part)))
    except SchemaError as error:
        place = ".".join(map(str, error.absolute_path))
        yield f"{name}: the schema of its options is none, at {place}: {error.message}. Mend that annotation."
        return
    except (TypeError, NameError) as error:
        yield f"{name}: {error}."
        return
    except ValueError as error:
        yield f"{name}: an option cannot be written as JSON: {error}"
        return
    found = [(one.path, one.problem) for one in problems(cls, written)] or list(own_problems(part))
    yield from (f"{'.'.join((name, *path))}: {problem}" for path, problem in found)
    if not found and (lost := difference(options.build(cls, written), part)):
        place = f"{name}.{lost.place}" if lost.place else name
        yield f"{place}: {lost.wanted} is read from a configuration as {lost.given}. Set it as that would be."
