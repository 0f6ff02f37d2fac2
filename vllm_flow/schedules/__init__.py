"""Schedules: sampling parameters that move. Importing this package registers them; it imports no torch."""

from vllm_flow.schedules.combined import Clip, Product, Sum, Then, WarmUp
from vllm_flow.schedules.curves import Constant, Cosine, Cyclic, Exponential, Linear, Piecewise, Step

__all__ = [
    "Clip",
    "Constant",
    "Cosine",
    "Cyclic",
    "Exponential",
    "Linear",
    "Piecewise",
    "Product",
    "Step",
    "Sum",
    "Then",
    "WarmUp",
]
