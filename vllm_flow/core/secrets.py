"""Secrets: a configuration holds only `${secret:NAME}`, and the value is read where it is used.

So no saved file, log or error message can contain one: what is not in the configuration cannot leak from it.
"""

from __future__ import annotations

import os
import re

from vllm_flow.core.errors import FlowError

REFERENCE = re.compile(r"\$\{secret:([A-Za-z_][A-Za-z0-9_]*)\}")


def is_reference(text: str) -> bool:
    """Whether `text` is exactly one `${secret:NAME}`."""
    return REFERENCE.fullmatch(text) is not None


def reveal(text: str) -> str:
    """The environment variable that `${secret:NAME}` names.

    Raises FlowError if it is not set, or `text` is no reference. The message never repeats such a
    `text`: it may be a secret that was written out by mistake.
    """
    found = REFERENCE.fullmatch(text)
    if found is None:
        raise FlowError("a secret is written out here. Write ${secret:NAME} and set the environment variable NAME.")
    value = os.environ.get(found[1], "")
    if not value:
        raise FlowError(f"{text}: the environment variable {found[1]} is not set. Set it to the secret's value.")
    return value
