"""Pipelines from Python, with the rights of the command: sessions from files and from stages, and sweeps."""

from vllm_flow.session.making import build, load, node
from vllm_flow.session.session import Session
from vllm_flow.session.stream import Stream
from vllm_flow.session.sweeping import run_sweep

__all__ = ["Session", "Stream", "build", "load", "node", "run_sweep"]
