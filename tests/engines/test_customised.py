"""Customised models: families from numbers, a choice of layers; held against transformers' own model of that kind."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny
from tests.engines.test_transformers import close_to_greedy, greedy
from vllm_flow.cli import main
from vllm_flow.core.errors import ModelError
from vllm_flow.engines.transformers.engine import TransformersEngine
from vllm_flow.engines.transformers.layers import keep_layers
from vllm_flow.engines.transformers.load import load
from vllm_flow.models.families import FAMILIES, FamilyName
from vllm_flow.models.layers import parse_layers
from vllm_flow.models.random_weights import build_model
from vllm_flow.models.spec import Architecture, Model
from vllm_flow.testing import prompt

TYPES = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]


def four_layers(family: str) -> Any:
    return tiny.build(
        family, layers=4, **({"layer_types": TYPES} if "layer_types" in tiny.FAMILIES.get(family, {}) else {})
    )


def rebuilt(model: Any, layers: tuple[int, ...]) -> Any:
    """A model of its own, made by transformers with that many layers, which has copies of the layers' weights."""
    config, weights = copy.deepcopy(model.config), model.state_dict()
    if "layer_types" in config.to_dict():
        config.layer_types = [config.layer_types[one] for one in layers]
    config.num_hidden_layers = len(layers)
    config._attn_implementation = "eager"
    made = type(model)(config)
    before = {f".{one}.{place}.": f".{one}.{old}." for place, old in enumerate(layers) for one in ("layers", "h")}

    def source(name: str) -> str:
        return next((name.replace(new, old) for new, old in before.items() if new in name), name)

    made.load_state_dict({name: weights[source(name)].clone() for name in made.state_dict()})
    return made.eval()


@pytest.mark.parametrize("text", ["0,2-3", "3,1,1-2"])
@pytest.mark.parametrize("family", ["Llama", "Qwen3", "GPT2", "Gemma2", "Gemma3", "GPTNeoX", "Mamba"])
def test_chosen_layers_answer_as_a_model_that_has_only_them(family: str, text: str, tmp_path: Path) -> None:
    whole, asked = four_layers(family), "What is the capital of France?"
    loaded = load(Model("tiny", path=str(tiny.save(tmp_path, family, whole)), layers=text), "cpu", "float32")
    engine = TransformersEngine(loaded)
    reply, ids = greedy(engine, asked), loaded.renderer.ids(prompt(asked))
    engine.close()
    reference = rebuilt(whole, parse_layers(text))
    close_to_greedy(reference, ids, list(reply.token_ids), loaded.end_ids)
    with torch.inference_mode():  # the answer does depend on the layers
        tokens = torch.tensor([ids])
        assert (reference(tokens).logits - whole(tokens).logits).abs().max() > 1e-3
    assert loaded.facts["batching"].startswith("none" if family == "Mamba" else "continuous")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_built_as_asked_and_answers_as_transformers_does(family: FamilyName) -> None:
    kind, shape = FAMILIES[family], Architecture(48, 3, 6, max_context=128, intermediate_size=80, family=family, seed=4)
    if kind.kv_heads:
        shape = replace(shape, kv_heads=2)
    if kind.head_dim:
        shape = replace(shape, head_dim=10)
    loaded, reference = load(Model("x", architecture=shape), "cpu", "float32"), build_model(shape).eval()
    config = loaded.network.model.config
    assert (config.model_type, config.hidden_size, config.num_hidden_layers) == (kind.model_type, 48, 3)
    assert (config.num_attention_heads, config.max_position_embeddings) == (6, 128)
    assert getattr(config, kind.feed_forward) == 80
    assert getattr(config, "num_key_value_heads", 2) == 2
    assert getattr(config, "head_dim", None) in ((10,) if kind.head_dim else (None,))
    engine = TransformersEngine(loaded)
    ids, reply = loaded.renderer.ids(prompt("hello")), greedy(engine, "hello", 12)
    engine.close()
    close_to_greedy(reference, ids, list(reply.token_ids), loaded.end_ids)
    assert loaded.facts["batching"] == "continuous"


def test_more_of_a_familys_configuration_can_be_set() -> None:
    more = {"sliding_window": 16, "layer_types": ["full_attention", "sliding_attention"], "tie_word_embeddings": False}
    shape = Architecture(32, 2, 4, family="gemma3", config=more)
    config = load(Model("x", architecture=shape), "cpu").network.model.config
    assert {name: getattr(config, name) for name in more} == more


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize(
    "name", ["slidng_window", "n_embd", "n_inner", "eos_token_id", "dtype", "_attn_implementation"]
)
def test_a_field_that_the_family_does_not_have_is_refused(family: FamilyName, name: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(Model("x", architecture=Architecture(32, 2, 4, family=family, config={name: 1})))
    assert str(caught.value).startswith(f"model.architecture.config: a {family} has no '{name}'.")
    assert ", tie_word_embeddings" in str(caught.value).partition(" There are: ")[2]


def test_a_value_that_transformers_refuses_is_told_in_one_line() -> None:
    with pytest.raises(ModelError) as caught:
        load(Model("x", architecture=Architecture(32, 2, 4, family="mistral", config={"sliding_window": "wide"})))
    assert str(caught.value).startswith("model.architecture: transformers cannot build this mistral: ")
    assert "'sliding_window'" in str(caught.value)
    assert str(caught.value).endswith(". Choose other values.")
    assert "\n" not in str(caught.value)


def test_the_record_says_what_leaving_layers_out_saves() -> None:
    shape = Architecture(32, 4, 4)
    all_of_them, some, again = (
        load(Model("x", architecture=shape, layers=text), "cpu").facts for text in (None, "0-1,3", "0-3,3")
    )
    block = 4 * 32 * 32 + 3 * 32 * 128 + 2 * 32
    assert [one["layers"] for one in (all_of_them, some, again)] == ["all 4", "0-1,3 of 4", "0-3,3 of 4"]
    assert all_of_them["parameters"] - some["parameters"] == block
    assert all_of_them["weight_bytes"] - some["weight_bytes"] == 4 * block
    assert [one["kv_bytes_per_token"] for one in (all_of_them, some, again)] == [1024, 768, 1280]
    assert again["parameters"] == all_of_them["parameters"]  # a layer that runs twice has its weights once


def test_a_layer_that_runs_twice_is_packed_once() -> None:
    network = load(Model("x", architecture=Architecture(32, 2, 4), layers="0,0,1"), "cpu").network
    first, second, other = network.model.model.layers
    assert first.self_attn is not second.self_attn
    assert first.self_attn.q_proj is second.self_attn.q_proj
    assert first.mlp is second.mlp is not other.mlp
    assert [one.self_attn.layer_idx for one in (first, second, other)] == [0, 1, 2]


def test_a_layer_beyond_the_models_is_told_when_the_weights_are_read(tmp_path: Path) -> None:
    path = tiny.save(tmp_path, "Llama")
    with pytest.raises(ModelError) as caught:
        load(Model("x", path=str(path), layers="0-2"))
    assert str(caught.value) == ("model.layers: 0-2: there is no layer 2: the model has 2, from 0 to 1. Leave it out.")


def test_layers_that_depend_on_each_other_are_not_torn_apart() -> None:
    model = tiny.build("Llama")
    model.config.num_kv_shared_layers = 1
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the text is asserted
        keep_layers(model, (0,))
    assert str(caught.value) == "the layers of a LlamaForCausalLM depend on each other. Leave it out."


def test_layers_are_chosen_on_the_command_line_and_stand_in_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "model=custom",
        "model.architecture.layers=3",
        "model.layers=0,2",
        "input.text=hi",
        "sampling.max_tokens=2",
    ]
    assert main([*words]) == 0
    (record,) = tmp_path.glob("outputs/runs/*/*/run.json")
    assert json.loads(record.read_text("utf-8"))["resources"]["engine"]["layers"] == "0,2 of 3"
    capsys.readouterr()
    assert main(["check", "model=custom", "model.layers=0,2"]) == 2
    assert capsys.readouterr().err == (
        "resources.engine.model.layers (command line): there is no layer 2: the model has 2, from 0 to 1. Leave it out.\n"
    )
