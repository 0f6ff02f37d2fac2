"""What the check of a stage asks of the options, the inputs and the value of a stage."""

from __future__ import annotations

import dataclasses
import functools
import operator
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from vllm_flow.core import options
from vllm_flow.core.codec import completion_from_json, decode, encode, message_from_json, turn_from_json
from vllm_flow.core.errors import FlowError
from vllm_flow.core.ports import fits, many
from vllm_flow.core.refusals import own_problems
from vllm_flow.core.values import Completion, Message, Turn
from vllm_flow.testing.compare import difference

READ: Mapping[type, Any] = {Turn: turn_from_json, Completion: completion_from_json, Message: message_from_json}
"""Values that stores and inputs read back."""


def type_of(value: Any) -> Any:
    """The port type of a value: of a tuple `tuple[Item, ...]`, where an empty one fits every tuple."""
    if type(value) is not tuple:
        return type(value)
    return many(functools.reduce(operator.or_, map(type_of, value)) if value else Any)


def suits(value: Any, wanted: Any) -> bool:
    """Whether a value may go where `wanted` is asked for: the rule by which a pipeline's edges are checked."""
    return fits(type_of(value), wanted)


def is_data(value: Any, wanted: Any) -> bool:
    """Whether it is a frozen value. A port that is a Protocol asks for a live object, which a stage may change."""
    live = any(Protocol in getattr(one, "__bases__", ()) for one in typing.get_args(wanted) or (wanted,))
    if type(value) is tuple:
        return all(is_data(item, wanted) for item in value)
    parameters = getattr(type(value), "__dataclass_params__", None)
    return not live and parameters is not None and bool(parameters.frozen)


def option_problems(name: str, stage: Any) -> Iterator[str]:
    """What keeps these options from being written in a configuration and read from it again."""
    from jsonschema import Draft202012Validator, SchemaError

    cls: type = type(stage)
    try:
        Draft202012Validator.check_schema(options.schema_of(cls))
        written = decode(encode(options.written(stage)))
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
    found = [(one.path, one.problem) for one in options.problems(cls, written)] or list(own_problems(stage))
    yield from (f"{'.'.join((name, *path))}: {problem}" for path, problem in found)
    if not found:
        yield from _lost(name, stage, written)


def _lost(name: str, stage: Any, written: Mapping[str, Any]) -> Iterator[str]:
    try:
        found = difference(options.build(type(stage), written), stage)
    except (ValueError, FlowError) as error:
        yield f"{name}: {error}"
        return
    if found:
        place = f"{name}.{found.place}" if found.place else name
        yield f"{place}: {found.wanted} is read from a configuration as {found.given}. Set it as that would be."


def record_problems(name: str, value: Any) -> Iterator[str]:
    """What keeps values of ours, alone or in a tuple, from being written to a record or a store and read again."""
    for item in value if type(value) is tuple else (value,):
        if not type(item).__module__.startswith("vllm_flow.core.") or not dataclasses.is_dataclass(item):
            continue
        try:
            data = decode(encode(item))
            found = difference(READ[type(item)](data), item) if type(item) in READ else None
        except ValueError as error:
            yield f"{name}: what run gave cannot be recorded: {error}"
            continue
        if found:
            what = f"what run gave changes when it is recorded: {found.place} from {found.wanted} to {found.given}"
            yield f"{name}: {what}. Give it the type its field declares."
