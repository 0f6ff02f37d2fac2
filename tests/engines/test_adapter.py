"""Adapters: merged into the weights they give what peft's own model gives, and what does not fit is refused."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests import tiny
from vllm_flow.core.errors import ModelError
from vllm_flow.engines.transformers.engine import TransformersEngine
from vllm_flow.engines.transformers.load import load
from vllm_flow.models.spec import Model

peft = pytest.importorskip("peft", reason="peft is not installed: pip install 'vllm-flow[adapt]'")
IDS = torch.arange(4, 24)[None]
TARGETS = {"Llama": ["q_proj", "v_proj", "down_proj"], "GPT2": ["c_attn", "c_proj"], "Qwen3": ["o_proj", "up_proj"]}


def train(base: Any, folder: Path, targets: list[str], **more: Any) -> Any:
    """A LoRA whose weights are random, B too, so that it changes something. Returns peft's own model."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft's own
        torch.manual_seed(1)
        adapted = peft.get_peft_model(base, peft.LoraConfig(r=4, lora_alpha=8, target_modules=targets, **more))
        with torch.no_grad():
            for name, weight in adapted.named_parameters():
                if "lora_" in name:
                    weight.normal_(0, 0.3)
        adapted.eval().save_pretrained(folder)
    return adapted


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=IDS).logits
    return found


def refused(model: Model) -> str:
    with pytest.raises(ModelError) as caught:
        load(model, "cpu", "float32")
    return str(caught.value)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("base"), "Llama")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pirate")
    train(tiny.build("Llama"), folder, TARGETS["Llama"])
    return folder


@pytest.mark.parametrize("family", TARGETS)
@pytest.mark.parametrize("more", [{}, {"use_rslora": True, "use_dora": True}], ids=["LoRA", "DoRA"])
def test_merged_weights_give_what_peft_gives_and_the_base_does_not(
    family: str, more: dict[str, Any], tmp_path: Path
) -> None:
    folder = tiny.save(tmp_path / "base", family)
    base = logits(tiny.build(family))
    wanted = logits(train(tiny.build(family), tmp_path / "adapter", TARGETS[family], **more))
    model = Model("x", path=str(folder), adapter=str(tmp_path / "adapter"))
    engine = TransformersEngine(load(model, "cpu", "float32"))
    found = engine.forward(IDS).logits
    facts = engine.describe()
    engine.close()
    assert float((found - wanted).abs().max()) < 1e-4 * float(wanted.abs().max())
    assert float((base - wanted).abs().max()) > 0.1 * float(wanted.abs().max())
    assert facts["batching"] == "continuous"
    assert facts["parameters"] == sum(one.numel() for one in tiny.build(family).parameters())


def test_the_record_names_the_adapter_by_what_is_in_it(base: Path, adapter: Path) -> None:
    model = Model("x", path=str(base), adapter=str(adapter))
    content = (adapter / "adapter_config.json").read_bytes() + (adapter / "adapter_model.safetensors").read_bytes()
    facts = load(model, "cpu").facts
    assert facts["adapter"] == f"{adapter.name}@{hashlib.sha256(content).hexdigest()[:12]}"
    assert load(Model("x", path=str(base)), "cpu").facts["adapter"] is None


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft's own
def test_an_adapter_is_merged_before_layers_are_left_out(base: Path, adapter: Path) -> None:
    whole = AutoModelForCausalLM.from_pretrained(base)
    merged = peft.PeftModel.from_pretrained(whole, adapter).merge_and_unload()
    merged.model.layers = merged.model.layers[1:]
    merged.config.num_hidden_layers = 1
    merged.model.layers[0].self_attn.layer_idx = 0
    engine = TransformersEngine(load(Model("x", path=str(base), adapter=str(adapter), layers="1"), "cpu", "float32"))
    found, wanted = engine.forward(IDS).logits, logits(merged)
    engine.close()
    assert float((found - wanted).abs().max()) < 1e-4 * float(wanted.abs().max())


def test_an_adapter_of_another_model_is_refused(adapter: Path, tmp_path: Path) -> None:
    end = ". Give the model that it was made for."
    begin = f"model.adapter: {adapter}: it does not fit this model: "
    wide = tiny.save(tmp_path / "wide", "Llama", tiny.build("Llama", hidden_size=64))
    said = refused(Model("x", path=str(wide), adapter=str(adapter)))
    assert said.startswith(f"{begin}size mismatch for base_model.model.model.layers.0.self_attn.q_proj.lora_A")
    assert said.endswith(end)
    assert "\n" not in said
    short = tiny.save(tmp_path / "short", "Llama", tiny.build("Llama", layers=1))
    name = "base_model.model.model.layers.1.mlp.down_proj.lora_A.weight"
    assert refused(Model("x", path=str(short), adapter=str(adapter))) == (
        f"{begin}it has {name} and 5 more, which this model lacks{end}"
    )
    long = tiny.save(tmp_path / "long", "Llama", tiny.build("Llama", layers=3))
    name = "base_model.model.model.layers.2.self_attn.q_proj.lora_A.default.weight"
    assert refused(Model("x", path=str(long), adapter=str(adapter))) == (
        f"{begin}it lacks {name} and 5 more, which this model has{end}"
    )
    other = tiny.save(tmp_path / "other", "GPTNeoX")
    said = refused(Model("x", path=str(other), adapter=str(adapter)))
    assert said.startswith(f"{begin}Target modules ")
    assert said.endswith(end)


def test_an_adapter_that_would_change_the_tied_embeddings_is_refused(tmp_path: Path) -> None:
    base = tiny.save(tmp_path / "base", "Llama", tiny.build("Llama", tie_word_embeddings=True))
    train(tiny.build("Llama", tie_word_embeddings=True), tmp_path / "adapter", ["lm_head"])
    assert refused(Model("x", path=str(base), adapter=str(tmp_path / "adapter"))) == (
        f"model.adapter: {tmp_path / 'adapter'}: it cannot be merged: it changes weights that stand in two places, "
        "such as tied embeddings. Give one that targets other layers."
    )


def test_weights_that_are_damaged_are_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
    (tmp_path / "adapter_model.safetensors").write_bytes(b"\0" * 64)
    said = refused(Model("x", path=str(base), adapter=str(tmp_path)))
    assert said.startswith(f"model.adapter: {tmp_path}: it does not fit this model: ")
    assert said.endswith(". Give the model that it was made for.")


def test_what_the_file_says_of_itself_is_not_run(base: Path, adapter: Path, tmp_path: Path) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    config |= {"megatron_config": {"a": 1}, "megatron_core": "antigravity"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    assert refused(Model("x", path=str(base), adapter=str(tmp_path))) == (
        "model.adapter: adapter_config.json names code to import, which is never done. Leave megatron_config out of it."
    )
