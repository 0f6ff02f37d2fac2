"""Pipelines from Python, with the rights of the command: sessions from files and from stages."""

from vllm_flow.session.making import build, load, node
from vllm_flow.session.session import Session
from vllm_flow.session.stream import Stream

__all__ = ["Session", "Stream", "build", "load", "node"]
