"""A Hydra program as one would write it without us: `generate` for each point, the model loaded once in the process.

Launched by Hydra's basic launcher; `sweep.py` measures against it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

DEFAULTS = {"folder": "???", "rows": "???", "tokens": 64, "temperature": 1.0, "top_p": 1.0, "seed": 0}
ConfigStore.instance().store(name="config", node=DEFAULTS)


@cache
def loaded(folder: str) -> tuple[Any, Any]:
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    return tokenizer, AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()


@hydra.main(config_path=None, config_name="config", version_base="1.3")
def main(config: DictConfig) -> None:
    tokenizer, model = loaded(config.folder)
    rows = [json.loads(line) for line in Path(config.rows).read_text(encoding="utf-8").splitlines()]
    texts = [tokenizer.apply_chat_template(row["messages"], tokenize=False, add_generation_prompt=True) for row in rows]
    inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
    torch.manual_seed(config.seed)
    how = {"do_sample": True, "temperature": config.temperature, "top_p": config.top_p, "top_k": 0}
    length = {"max_new_tokens": config.tokens, "min_new_tokens": config.tokens}
    made = model.generate(**inputs, **how, **length, pad_token_id=2)
    answers = tokenizer.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    folder = Path(HydraConfig.get().runtime.output_dir)
    with (folder / "answers.jsonl").open("w", encoding="utf-8") as file:
        for row, answer in zip(rows, answers, strict=True):
            file.write(json.dumps({**row, "answer": answer}) + "\n")


if __name__ == "__main__":
    main()
