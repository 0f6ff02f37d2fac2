"""The built-in metrics, one subject per file. Importing this package registers them; it imports no numpy."""

from vllm_flow.metrics.choice import Choice
from vllm_flow.metrics.chrf import Chrf
from vllm_flow.metrics.diversity import Distinct
from vllm_flow.metrics.exact import Contains, Exact
from vllm_flow.metrics.latency import first_token, whole
from vllm_flow.metrics.length import characters, tokens, truncated, words
from vllm_flow.metrics.likelihood import perplexity
from vllm_flow.metrics.number import Number
from vllm_flow.metrics.pattern import Pattern
from vllm_flow.metrics.repetition import Repetition
from vllm_flow.metrics.samples import MajorityAt, Mean, PassAt
from vllm_flow.metrics.structure import Json

__all__ = [
    "Choice",
    "Chrf",
    "Contains",
    "Distinct",
    "Exact",
    "Json",
    "MajorityAt",
    "Mean",
    "Number",
    "PassAt",
    "Pattern",
    "Repetition",
    "characters",
    "first_token",
    "perplexity",
    "tokens",
    "truncated",
    "whole",
    "words",
]
