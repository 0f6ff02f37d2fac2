"""Functions that a model may call: the shipped ones, and the resource that holds those that were chosen."""

from vllm_flow.tools import calculator, clock, page, search, weather
from vllm_flow.tools.functions import Functions

__all__ = ["Functions", "calculator", "clock", "page", "search", "weather"]
