"""The processes that `decode.py` measures against; each is one of its own, because two teams of threads slow each other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vllm_flow.core.resources import Engine
from vllm_flow.core.values import Request

Peer = Callable[[int, list[dict[str, Any]]], float]
"""Tokens a second of so many rows, one after the other for each setting."""
PIPES: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}


def generate(folder: Path, dtype: str, tokens: int, prompt_tokens: int) -> Any:
    """transformers' `generate`; prompts have as many tokens as ours. A context manager that gives a Peer."""
    return _peer("generate_peer.py", tokens, str(folder), dtype, str(tokens), str(prompt_tokens))


def llama_cpp(file: Path, tokens: int, prompt_tokens: int, threads: int) -> Any:
    """llama.cpp, which takes one row and is greedy. A context manager that gives a Peer."""
    return _peer("llama_peer.py", tokens, str(file), str(tokens), str(prompt_tokens), str(threads))


@contextmanager
def _peer(program: str, tokens: int, *arguments: str) -> Iterator[Peer]:
    with subprocess.Popen([sys.executable, str(Path(__file__).with_name(program)), *arguments], **PIPES) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()

        def rate(rows: int, settings: list[dict[str, Any]]) -> float:
            print(json.dumps({"rows": rows, "settings": settings}), file=process.stdin, flush=True)
            return rows * len(settings) * tokens / float(json.loads(process.stdout.readline()))

        yield rate
        process.stdin.close()


@contextmanager
def vllm(python: str, folder: Path, dtype: str) -> Iterator[Callable[[list[Request], Engine], float]]:
    """Tokens a second of vLLM, all requests in one call; it is given the token ids that the engine would read."""
    program = [python, str(Path(__file__).with_name("vllm_peer.py")), str(folder), dtype]
    with subprocess.Popen(program, start_new_session=True, **PIPES) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGSTOP)  # its processes compute also while they have nothing to do

        def rate(requests: list[Request], engine: Any) -> float:
            prompts = [engine._loaded.renderer.ids(one.prompt) for one in requests]
            names = ("temperature", "top_p", "max_tokens")
            settings = [{name: getattr(one.schedule.at(0), name) for name in names} for one in requests]
            os.killpg(process.pid, signal.SIGCONT)
            print(json.dumps({"prompts": prompts, "settings": settings}), file=process.stdin, flush=True)
            took, tokens = json.loads(process.stdout.readline())
            os.killpg(process.pid, signal.SIGSTOP)
            return float(tokens / took)

        try:
            yield rate
        finally:
            os.killpg(process.pid, signal.SIGCONT)
            process.stdin.close()
