"""Shouting: the reply in capitals."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vllm_flow import Completion, stage


@stage("acme:shout/loud")
@dataclass(frozen=True)
class Loud:
    """The reply in capitals, with a mark at its end."""

    mark: str = "!"

    def run(self, reply: Completion) -> Completion:
        return replace(reply, text=reply.text.upper() + self.mark)
