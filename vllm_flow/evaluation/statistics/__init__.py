"""Whether one point of a sweep is better than another, from scores of the same prompts with the same seeds.

`compare` holds every point against one declared baseline; `candidates` names the winners, which count only once
`confirm` has seen them win again on fresh seeds. Importing this package imports numpy, so the command does so only
when it compares.
"""

from vllm_flow.evaluation.statistics.comparing import compare
from vllm_flow.evaluation.statistics.confirming import candidates, confirm
from vllm_flow.evaluation.statistics.results import Comparison, Comparisons, Confirmation, Interval, PointEstimate

__all__ = [
    "Comparison",
    "Comparisons",
    "Confirmation",
    "Interval",
    "PointEstimate",
    "candidates",
    "compare",
    "confirm",
]
