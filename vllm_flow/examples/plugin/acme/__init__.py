"""Stages for vllm-flow. Importing the package registers them."""

from .shout import Loud

__all__ = ["Loud"]
