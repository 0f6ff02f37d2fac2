"""How many kernels are kept: fewer than by themselves, or as somebody has said."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from vllm_flow.models.kernels import keep_fewer_kernels

MANY_SHAPES = """
import ctypes, os, sys
import torch
from vllm_flow.models.kernels import keep_fewer_kernels
from vllm_flow.models.packed import PackedLinear

class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("a", "b", "c", "d", "mapped", "f", "g", "used", "i", "j")]

def used():
    read = ctypes.CDLL("libc.so.6").mallinfo2
    read.restype = Heap
    return read().used + read().mapped

keep_fewer_kernels(os.environ)
layer = PackedLinear(torch.ones(64, 64, dtype=torch.bfloat16), None)
with torch.inference_mode():
    after = []
    for rows in range(1, 401):
        layer(torch.ones(rows, 64, dtype=torch.bfloat16))
        after.append(used())
print((after[-1] - after[199]) / (after[199] - after[0]))
"""


def test_fewer_are_kept_unless_somebody_has_said_how_many() -> None:
    def after(**environment: str) -> dict[str, str]:
        keep_fewer_kernels(environment)
        return environment

    bounds = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128", "LRU_CACHE_CAPACITY": "16"}
    assert after() == bounds
    assert after(LRU_CACHE_CAPACITY="7") == {**bounds, "LRU_CACHE_CAPACITY": "7"}
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "DNNL_PRIMITIVE_CACHE_CAPACITY"):
        assert after(**{name: "7"}) == {name: "7", "LRU_CACHE_CAPACITY": "16"}


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="glibc 2.33 says what is in use"
)
def test_two_hundred_more_shapes_take_no_more_memory_than_the_first() -> None:
    environment = {name: value for name, value in os.environ.items() if "CACHE_CAPACITY" not in name}
    found = subprocess.run(
        [sys.executable, "-c", MANY_SHAPES], capture_output=True, text=True, check=True, env=environment
    )
    assert abs(float(found.stdout)) < 0.1, "unbounded it is 0.7 to 1"
