"""The folders that Hydra's keys name.

Hydra reads them when it needs them, which is late, and then with a traceback; read here, a bad one is a fault like
others.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vllm_flow.core.errors import ConfigError, Fault


def run_folder(config: DictConfig) -> Path:
    """Of a single run. Raises ConfigError."""
    return Path(_text(config, "hydra.run.dir"))


def sweep_folder(config: DictConfig) -> Path:
    """Of a sweep, absolute. Raises ConfigError."""
    return Path(_text(config, "hydra.sweep.dir")).absolute()


def point_folder(config: DictConfig) -> Path:
    """Of one point of a sweep, absolute. Raises ConfigError."""
    return sweep_folder(config) / _text(config, "hydra.sweep.subdir")


def _text(config: DictConfig, key: str) -> str:
    try:
        if found := str(OmegaConf.select(config, key)):
            return found
        problem = "it is empty"
    except OmegaConfBaseException as error:
        problem = str(error.msg).partition("\n")[0]
    raise ConfigError([Fault(key, f"{problem}. Write a path; it may refer to keys, as ${{seed}} does.")])
