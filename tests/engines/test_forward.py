"""A forward pass from Python: held against transformers' own model on the same inputs, with masks, positions and layers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import vllm_flow
from tests import tiny
from tests.engines.test_customised import TYPES, rebuilt
from tests.engines.test_transformers import greedy
from vllm_flow.core.errors import ContextOverflow, EngineError
from vllm_flow.engines.transformers.engine import TransformersEngine
from vllm_flow.engines.transformers.load import load
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models.spec import Architecture, Model

TOLERANCE = 1e-4
"""Of the largest logit, in float32: packed weights are summed in another order."""
GENERATOR = torch.Generator().manual_seed(0)
IDS = torch.randint(4, 260, (2, 24), generator=GENERATOR)
PADDED = torch.ones_like(IDS)
PADDED[0, :7] = 0
POSITIONS = torch.arange(24).mul(2).expand(2, 24)
Made = tuple[TransformersEngine, Any]


def close(found: Tensor, wanted: Tensor, seen: Tensor | None = None) -> bool:
    """`seen` says which tokens count: what is computed at padding means nothing."""
    difference = (found - wanted).abs()
    if seen is not None:
        difference = difference[seen.bool()]
    return float(difference.max()) <= TOLERANCE * float(wanted.abs().max())


@pytest.fixture(scope="module", params=["Llama", "Qwen3", "GPT2", "Gemma3", "OPT", "Mamba"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """An engine, and transformers' own model with the same weights."""
    family = request.param
    model = tiny.build(family, layers=4, **({"layer_types": TYPES} if family == "Gemma3" else {}))
    folder = tiny.save(tmp_path_factory.mktemp(family), family, model)
    engine = TransformersEngine(load(Model("tiny", path=str(folder)), "cpu", "float32"))
    yield engine, model
    engine.close()


@pytest.fixture(scope="module")
def engine() -> Iterator[TransformersEngine]:
    engine = TransformersEngine(load(Model("x", architecture=Architecture(32, 3, 4, max_context=64)), "cpu", "float32"))
    yield engine
    engine.close()


def own(model: Any, ids: Tensor, **more: Any) -> Any:
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False, **more)


def test_the_logits_are_those_of_transformers(made: Made) -> None:
    engine, model = made
    found = engine.forward(IDS.tolist()).logits
    assert (found.dtype, found.shape) == (torch.float32, (2, 24, model.config.vocab_size))
    assert close(found, own(model, IDS).logits)


def test_padding_is_masked_as_in_transformers(made: Made) -> None:
    engine, model = made
    found = engine.forward(IDS, PADDED).logits
    assert close(found, own(model, IDS, attention_mask=PADDED).logits, PADDED)
    assert not close(found, own(model, IDS).logits, PADDED)


def test_a_subset_of_layers_for_one_call_is_a_model_that_has_only_them(made: Made) -> None:
    engine, model = made
    before = engine.forward(IDS).logits
    for choice in ("0,2-3", (3, 1, 1)):
        layers = (0, 2, 3) if isinstance(choice, str) else choice
        assert close(engine.forward(IDS, layers=choice).logits, own(rebuilt(model, layers), IDS).logits)
    assert torch.equal(engine.forward(IDS).logits, before)


def test_positions_are_those_given(made: Made) -> None:
    engine, model = made
    if type(model).__name__.startswith("Mamba"):
        with pytest.raises(EngineError) as caught:
            engine.forward(IDS, position_ids=POSITIONS)
        assert str(caught.value) == "engine.forward: position_ids: a MambaForCausalLM takes none. Leave it out."
        return
    found = engine.forward(IDS, position_ids=POSITIONS).logits
    assert close(found, own(model, IDS, position_ids=POSITIONS, attention_mask=torch.ones_like(IDS)).logits)
    assert not close(found, own(model, IDS).logits)


def test_two_documents_in_one_row_are_as_each_alone(made: Made) -> None:
    engine, model = made
    lengths = (8, 16) if "Gemma" not in type(model).__name__ else (8, 9)  # a full mask knows no window of 9
    ids = IDS[:, : sum(lengths)]
    blocks = torch.block_diag(*(torch.ones(one, one) for one in lengths)).tril().long().expand(2, -1, -1)
    positions = torch.cat([torch.arange(one) for one in lengths]).expand(2, -1)
    if type(model).__name__.startswith("Mamba"):
        with pytest.raises(EngineError) as caught:
            engine.forward(ids, blocks)
        assert str(caught.value) == (
            "engine.forward: attention_mask: a MambaForCausalLM does not look at a mask of tokens by tokens. "
            "Give one of [batch, tokens]."
        )
        return
    alone = torch.cat([own(model, part).logits for part in ids.split(lengths, 1)], 1)
    assert close(engine.forward(ids, blocks, positions).logits, alone)
    assert close(engine.forward(ids, blocks[:, None].bool(), positions).logits, alone)
    # Without the mask the second document sees the first, whatever its positions say.
    assert not close(engine.forward(ids, position_ids=positions).logits, alone)


def test_a_full_mask_need_not_be_causal(made: Made) -> None:
    engine, model = made
    if type(model).__name__.startswith("Mamba"):
        return
    everything = torch.ones(2, 24, 24)
    found = engine.forward(IDS, everything.long()).logits
    wanted = own(model, IDS, attention_mask=torch.zeros(2, 1, 24, 24), position_ids=torch.arange(24).expand(2, 24))
    assert close(found, wanted.logits)
    assert not close(found, own(model, IDS).logits)


def test_hidden_states_and_attentions_are_those_of_transformers(made: Made) -> None:
    engine, model = made
    mamba = type(model).__name__.startswith("Mamba")
    # A choice of layers first: what is put on layers to watch them must not be lost with those of one call.
    assert len(engine.forward(IDS, layers=(2, 2), hidden_states=True).hidden_states or ()) == 3
    found = engine.forward(IDS, hidden_states=True, attentions=not mamba)
    model.set_attn_implementation("eager")
    wanted = own(model, IDS, output_hidden_states=True, **({} if mamba else {"output_attentions": True}))
    assert found.hidden_states is not None
    assert len(found.hidden_states) == len(wanted.hidden_states) == 5
    assert all(close(a, b) for a, b in zip(found.hidden_states, wanted.hidden_states, strict=True))
    if mamba:
        with pytest.raises(EngineError) as caught:
            engine.forward(IDS, attentions=True)
        assert str(caught.value) == ("engine.forward: attentions: a MambaForCausalLM does not give them. Leave it out.")
        return
    assert found.attentions is not None
    assert [one.shape for one in found.attentions] == [(2, model.config.num_attention_heads, 24, 24)] * 4
    assert all(close(a, b) for a, b in zip(found.attentions, wanted.attentions, strict=True))


def test_what_is_not_asked_for_is_not_there(engine: TransformersEngine) -> None:
    found = engine.forward(IDS)
    assert found.hidden_states is None
    assert found.attentions is None
    assert len(engine.forward(IDS, layers="1", attentions=True).attentions or ()) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ids": [5, 6]}, "ids: it has the shape [2], but [batch, tokens] is needed. For one sequence put brackets around it."),
        ({"ids": [[]]}, "ids: it has the shape [1, 0], but [batch, tokens] is needed. Give at least one token a row."),
        ({"ids": [[5, 6], [7]]}, "ids: it is no table of whole numbers (expected sequence of length 2 at dim 1 (got 1)). Give rows of one length."),
        ({"ids": [[5.5]]}, "ids: it holds numbers of the type float32. Give whole ones."),
        ({"ids": [[5, 260]]}, "ids: 260 is no token of this model. Give numbers from 0 to 259."),
        ({"ids": [[-1]]}, "ids: -1 is no token of this model. Give numbers from 0 to 259."),
        ({"ids": [[5] * 65]}, "ids: a row has 65 tokens, but the model reads 64. Give fewer."),
        ({"attention_mask": [[1]]}, "attention_mask: it has the shape [1, 1]. For these ids it is [1, 3] or [1, 1, 3, 3]."),
        ({"attention_mask": [[0, 1, 2]]}, "attention_mask: there is 2 in it. Write 1 for what is looked at, and 0 for the rest."),
        ({"attention_mask": [[0.0, 1.0, 1.0]]}, "attention_mask: it holds numbers of the type float32. Give whole ones."),
        ({"position_ids": [[0, 1]]}, "position_ids: it has the shape [1, 2], but ids has [1, 3]. Give one for each token."),
        ({"position_ids": [[0, 1, 64]]}, "position_ids: 64 is no position of this model. Give numbers from 0 to 63."),
        ({"layers": "2-"}, "layers: '2-' in it is no layer and no range of layers. Write numbers from 0 and ranges such as 0-11,20-29."),
        ({"layers": "1-3"}, "layers: there is no layer 3: the model has 3, from 0 to 2. Leave it out."),
        ({"layers": [3]}, "layers: there is no layer 3: the model has 3, from 0 to 2. Leave it out."),
        ({"layers": []}, "layers: it names no layer. Write numbers from 0 and ranges such as 0-11,20-29."),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_told_in_one_line(
    engine: TransformersEngine, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(EngineError) as caught:
        engine.forward(**{"ids": [[5, 6, 7]], **given})
    assert str(caught.value) == f"engine.forward: {words}"
    assert isinstance(caught.value, ContextOverflow) == ("Give fewer" in words)


def test_passes_run_between_the_steps_of_an_answer_and_change_nothing_of_it() -> None:
    engine = Transformers(Model("x", architecture=Architecture(32, 3, 4)), device="cpu").open()
    assert isinstance(engine, TransformersEngine)
    quiet, seen = greedy(engine, "hello", 200).token_ids, engine.forward(IDS, layers="0,2").logits
    answering = threading.Event()
    passes: list[Tensor] = []

    def look() -> None:
        while not answering.is_set():
            passes.append(engine.forward(IDS, layers="0,2", attentions=len(passes) % 2 == 1).logits)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for one in threads:
        one.start()
    disturbed = greedy(engine, "hello", 200).token_ids
    answering.set()
    for one in threads:
        one.join()
    engine.close()
    assert disturbed == quiet
    assert len(passes) > 4
    assert all(close(one, seen) for one in passes)


def test_a_closed_engine_looks_at_nothing() -> None:
    engine = Transformers(Model("x", architecture=Architecture(32, 1, 4))).open()
    assert isinstance(engine, TransformersEngine)
    engine.close()
    with pytest.raises(EngineError, match=r"^the engine was closed before the answer was complete\. Open a new one\.$"):
        engine.forward([[1]])


def test_the_engine_of_a_session_looks_at_a_text_and_can_be_awaited() -> None:
    words = ["model=custom", "sampling.max_tokens=4"]
    with vllm_flow.load("dialogue", words, record=False) as session:
        session.open()
        engine = session.opened("engine")
        ids = engine.encode("héllo")
        assert engine.decode(ids) == "héllo"
        found = asyncio.run(asyncio.to_thread(engine.forward, [ids]))
        assert found.logits.shape == (1, len(ids), 260)
        assert session.run("hi").failure is None
