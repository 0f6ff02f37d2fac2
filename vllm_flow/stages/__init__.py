"""The built-in stages, one role per file. Importing this package registers them; it imports no torch."""

from vllm_flow.stages.adapt import Learned, Lora
from vllm_flow.stages.bandit import Bandit
from vllm_flow.stages.choose import Choose
from vllm_flow.stages.cite import Passages
from vllm_flow.stages.context import Bm25 as RecalledByWords
from vllm_flow.stages.context import Facts, Full, Retrieval, Sink, Story, Summary, Update, Window
from vllm_flow.stages.deadline import Deadline, Measured
from vllm_flow.stages.describe import Ocr, Tags
from vllm_flow.stages.fuse import Chat
from vllm_flow.stages.fuse_media import Describe
from vllm_flow.stages.fuse_native import Native
from vllm_flow.stages.infer import Generate, Sample
from vllm_flow.stages.judge import Preference, Question, Rating, Verdict
from vllm_flow.stages.recommend import Candidates
from vllm_flow.stages.retrieve import Bm25, Dense
from vllm_flow.stages.schedule import FromSampling
from vllm_flow.stages.score import ByMetric, Compared, Continued, Given, Likelihood
from vllm_flow.stages.select import Best, Vote
from vllm_flow.stages.speech import Heard, Speech, Write
from vllm_flow.stages.tools import WithTools

__all__ = [
    "Bandit",
    "Best",
    "Bm25",
    "ByMetric",
    "Candidates",
    "Chat",
    "Choose",
    "Compared",
    "Continued",
    "Deadline",
    "Dense",
    "Describe",
    "Facts",
    "FromSampling",
    "Full",
    "Generate",
    "Given",
    "Heard",
    "Learned",
    "Likelihood",
    "Lora",
    "Measured",
    "Native",
    "Ocr",
    "Passages",
    "Preference",
    "Question",
    "Rating",
    "RecalledByWords",
    "Retrieval",
    "Sample",
    "Sink",
    "Speech",
    "Story",
    "Summary",
    "Tags",
    "Update",
    "Verdict",
    "Vote",
    "Window",
    "WithTools",
    "Write",
]
