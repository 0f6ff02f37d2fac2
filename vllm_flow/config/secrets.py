"""Secrets: a configuration holds references to them, never their values, because every run writes it to disk."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
ALONE = frozenset({"token", "password", "passwd", "passphrase", "secret", "credential", "credentials", "authorization"})
BEFORE_KEY = frozenset({"api", "access", "private", "secret", "auth", "signing", "encryption"})
OF_A_TOKENIZER = frozenset({"bos", "eos", "pad", "unk", "sep", "cls", "mask", "image", "audio", "video", "stop"})
REFERENCE = re.compile(r"(Bearer )?\$\{secret:\w+\}|\$\{\.*[\w.]+\}|\?\?\?|")
ENVIRONMENT = re.compile(r"\$\{\s*oc\.env\s*:\s*([^},\s]+)")
PROBLEM = (
    "a secret is written out. Write ${secret:NAME}; it is read from the environment variable NAME when it is used."
)


def looks_secret(key: str) -> bool:
    """Whether a value under this key would be a secret: `api_key` and `hf_token`, but not `max_tokens`."""
    words = [word.lower() for word in WORDS.findall(key)]
    if not words:
        return False
    *before, last = words
    if last == "key":
        return bool(before) and before[-1] in BEFORE_KEY
    if last == "token" and before and before[-1] in OF_A_TOKENIZER:
        return False
    return last in ALONE or last == "apikey"


def written_out(key: str, value: Any) -> bool:
    """Whether `value` under `key` is, or would be saved as, the secret itself."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return False
    text = str(value)
    if any(looks_secret(name) for name in ENVIRONMENT.findall(text)):
        return True
    return looks_secret(key) and not REFERENCE.fullmatch(text)


def secrets_in(value: Any, path: tuple[str, ...] = (), key: str = "") -> Iterator[tuple[str, ...]]:
    """The paths of all secrets written out in plain data; the items of a list stand under the list's key."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from secrets_in(item, (*path, str(name)), str(name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from secrets_in(item, (*path, str(index)), key)
    elif written_out(key, value):
        yield path
