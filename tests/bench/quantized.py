"""What quantised weights cost in quality: SmolLM2 on a text, against itself in float32.

    python tests/bench/quantized.py [--file README.md] [--tokens 512]

Prints perplexity, the mean Kullback-Leibler divergence from float32 in nats, how often the most probable token is the
same one, and the bytes of the weights. SmolLM2 comes with weights of 4 bits, its embeddings and head excepted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models.pull import pull
from vllm_flow.models.spec import Model

CASES = [(dtype, kind) for dtype in ("float32", "bfloat16") for kind in (None, "int4", "int8")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, default=Path(__file__).parents[2] / "README.md")
    parser.add_argument("--tokens", type=int, default=512)
    given = parser.parse_args()
    model, wanted = Model("smollm2", path=str(pull("smollm2"))), None
    print(f"{'':16} perplexity        KL   same   weights")
    for dtype, kind in CASES:
        engine = Transformers(model, dtype=dtype, quantize=kind).open()
        ids = engine.encode(given.file.read_text("utf-8"))[: given.tokens]
        found = engine.forward([ids]).logits[0].log_softmax(-1)
        size = engine.describe()["weight_bytes"]
        engine.close()
        wanted = found if wanted is None else wanted
        perplexity = float((-found[:-1].gather(1, torch.tensor(ids[1:])[:, None])).mean().exp())
        divergence = float((wanted.exp() * (wanted - found)).sum(-1).mean())
        same = float((wanted.argmax(-1) == found.argmax(-1)).float().mean())
        print(
            f"{dtype:9}{kind or '':7} {perplexity:10.2f} {divergence:9.4f} {same:6.1%} {size / 1e6:6.0f} MB", flush=True
        )


if __name__ == "__main__":
    main()
