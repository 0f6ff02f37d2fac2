"""Context stages: begin a turn with what its conversation remembers, and commit what was answered.

Reading and writing are two stages because the user's message is committed before inference: a process killed while it
answers has lost nothing the user said. What a policy has made of older turns is in the conversation's state and
committed with the reply, so it follows the turn wherever that goes: taken back, forked, replayed.
"""

from vllm_flow.stages.context.earlier import begin, said
from vllm_flow.stages.context.facts import Facts
from vllm_flow.stages.context.full import Full
from vllm_flow.stages.context.recall import Bm25, Retrieval
from vllm_flow.stages.context.sink import Sink
from vllm_flow.stages.context.story import Story
from vllm_flow.stages.context.summary import Summary
from vllm_flow.stages.context.update import Update
from vllm_flow.stages.context.window import Window

__all__ = ["Bm25", "Facts", "Full", "Retrieval", "Sink", "Story", "Summary", "Update", "Window", "begin", "said"]
