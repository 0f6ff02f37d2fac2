"""Launcher and sweeper of ours in programs that are not: registered, and afterwards unknown again."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from vllm_flow.config.sweeper import install


@pytest.fixture
def registered(hydra_restore_singletons: None) -> Iterator[None]:
    """Hydra's own launcher sets up the loggers of the whole process; they are left as they were."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    install()
    yield
    root.handlers[:], root.level = before[0], before[1]
