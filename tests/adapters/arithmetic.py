"""Arithmetic for lm-eval, made by this script: results to be written, to be chosen, and the text as a whole.

Both numbers always have two digits, so all prompts are equally long: lm-eval's `hf` backend pads the shorter ones of a
batch, and its repetition penalty would count the padding as something that was said.
"""

from __future__ import annotations

import json
import random
import re
from itertools import product
from pathlib import Path

SHOWN = ((13, "+", 24, 37), (58, "-", 45, 13), (31, "+", 11, 42), (76, "-", 12, 64))
SHOTS = "".join(f"Question: What is {a} {sign} {b}?\nAnswer: {right}\n\n" for a, sign, b, right in SHOWN)
COMMON = """\
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
doc_to_text: "{{{{shots}}}}Question: {{{{question}}}}\\nAnswer:"
num_fewshot: 0
metadata: {{version: 1.0}}
"""
WRITTEN = """\
task: arithmetic_written
output_type: generate_until
doc_to_target: "{{target}}"
generation_kwargs: {until: ["\\n\\n"], do_sample: false, max_gen_toks: 16}
filter_list:
  - name: first_number
    filter: [{function: regex, regex_pattern: "(-?[0-9]+)"}, {function: take_first}]
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
CHOSEN = """\
task: arithmetic_chosen
output_type: multiple_choice
doc_to_choice: "{{choices}}"
doc_to_target: "{{right}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""
ROLLED = """\
task: arithmetic_rolled
output_type: loglikelihood_rolling
doc_to_target: "{{shots}}Question: {{question}}\\nAnswer: {{target}}"
metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}]
"""
TASKS = ("arithmetic_written", "arithmetic_chosen", "arithmetic_rolled")
POINTS = [
    {"until": until, "max_gen_toks": tokens, "repetition_penalty": penalty}
    for until, tokens, penalty in product((["\n"], ["\n\n", "."]), (3, 16), (1.0, 1.05, 1.1, 1.3))
]
"""16 greedy ways to answer that both backends take."""


def write(folder: Path, questions: int, seed: int = 0) -> Path:
    """The questions as JSON lines and the tasks beside them: a folder for lm-eval's `--include_path`."""
    draw = random.Random(seed)
    rows = [_row(draw) for _ in range(questions)]
    file = folder / "arithmetic.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for name, own in zip(TASKS, (WRITTEN, CHOSEN, ROLLED), strict=True):
        common = COMMON.format(file=json.dumps(str(file)))
        if own is ROLLED:
            common = re.sub("doc_to_text: .*", 'doc_to_text: ""', common)
        (folder / f"{name}.yaml").write_text(own + common, encoding="utf-8")
    return folder


def _row(draw: random.Random) -> dict[str, object]:
    a, b, plus = draw.randint(10, 99), draw.randint(10, 99), draw.random() < 0.7
    target = a + b if plus else a - b
    others = draw.sample([one for one in range(target - 9, target + 10) if one != target], 3)
    choices = sorted([target, *others])
    question = f"What is {a} {'+' if plus else '-'} {b}?"
    return {
        "shots": SHOTS, "question": question, "target": str(target),
        "choices": [str(one) for one in choices], "right": choices.index(target),
    }  # fmt: skip
