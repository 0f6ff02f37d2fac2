"""Schedules: sampling parameters that move. Importing this package registers them; it imports no torch."""

from vllm_flow.schedules.budget import Budget
from vllm_flow.schedules.combined import Clip, Product, Sum, Then, WarmUp
from vllm_flow.schedules.curves import Constant, Cosine, Cyclic, Exponential, Linear, Piecewise, Step
from vllm_flow.schedules.entropy import ByEntropy, Edt
from vllm_flow.schedules.feedback import Feedback
from vllm_flow.schedules.length import TargetLength
from vllm_flow.schedules.mirostat import Mirostat
from vllm_flow.schedules.repetition import Repetition

__all__ = [
    "Budget",
    "ByEntropy",
    "Clip",
    "Constant",
    "Cosine",
    "Cyclic",
    "Edt",
    "Exponential",
    "Feedback",
    "Linear",
    "Mirostat",
    "Piecewise",
    "Product",
    "Repetition",
    "Step",
    "Sum",
    "TargetLength",
    "Then",
    "WarmUp",
]
