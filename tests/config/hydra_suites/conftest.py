"""Launcher and sweeper of ours in programs that are not: registered, and afterwards unknown again."""

from __future__ import annotations

import pytest

from vllm_flow.config.sweeper import install


@pytest.fixture
def registered(hydra_restore_singletons: None) -> None:
    install()
