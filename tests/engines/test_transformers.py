"""The transformers engine on real weights: tiny random models of many families, and the packaged SmolLM2.

What every engine does is in test_promises.py, and what many requests do to each other in test_batching.py.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM

from tests import tiny
from vllm_flow.core.errors import ContextOverflow, EngineError, ModelError
from vllm_flow.core.messages import user
from vllm_flow.core.resources import Engine
from vllm_flow.core.values import Completion, Prompt, Request
from vllm_flow.engines.transformers.load import load
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.engines.transformers.render import Renderer
from vllm_flow.models.progress import observed_by
from vllm_flow.models.random_weights import build_model, build_tokenizer
from vllm_flow.models.spec import Architecture, Model
from vllm_flow.stages.infer import complete
from vllm_flow.testing import ask, prompt, schedule

SHAPE = Architecture(32, 2, 4, max_context=400)
ASKED = [
    "What is the capital of France?", "Name three colours.", "Why is the sky blue?", "Write a line about the sea.",
    "What is 7 plus 5?", "Who wrote Hamlet?", "How do I boil an egg?", "Say hello in Spanish.",
    "What is a prime number?", "Describe the moon.", "List two fruits.", "What do bees make?",
    "Where is Mount Fuji?", "What is water made of?", "Give me a synonym of happy.", "How many legs has a spider?",
    "What is the opposite of cold?", "Name a planet.", "What does a baker do?", "Finish: once upon a time",
]  # fmt: skip


def greedy(engine: Engine, text: str, max_tokens: int = 24, logprobs: bool = False) -> Completion:
    return ask(engine, text, temperature=0, max_tokens=max_tokens, logprobs=logprobs)


def reference(folder: Path) -> Any:
    """The model as transformers runs it."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()


def close_to_greedy(network: Any, prompt: list[int], output: list[int], ends: frozenset[int]) -> None:
    """`output` equals `generate`'s greedy tokens, up to a step where its two best logits are within 1e-3."""
    ids = torch.tensor([prompt])
    expected = network.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=len(output), do_sample=False,
        pad_token_id=0, eos_token_id=sorted(ends), repetition_penalty=1.0,
    )[0, len(prompt) :].tolist()  # fmt: skip
    for place, (mine, theirs) in enumerate(zip(output, expected, strict=True)):
        if mine != theirs:
            with torch.inference_mode():
                best = network(torch.tensor([prompt + output[:place]])).logits[0, -1].topk(2).values
            assert float(best[0] - best[1]) < 1e-3
            return


@pytest.fixture(scope="module", params=[*tiny.FAMILIES, *tiny.PLAIN])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def random_engine() -> Iterator[Engine]:
    engine = Transformers(Model("random", architecture=SHAPE)).open()
    yield engine
    engine.close()


def test_greedy_replies_equal_those_of_generate_for_every_family(folder: Path) -> None:
    options = Transformers(Model("tiny", path=str(folder)), dtype="float32")
    network, loaded, engine = reference(folder), load(options.model, "cpu", "float32"), options.open()
    for text in (ASKED[0], f"{ASKED[3]} {ASKED[-1]}"):
        reply = greedy(engine, text)
        ids = loaded.renderer.ids(prompt(text))
        assert reply.usage.prompt_tokens == len(ids)
        close_to_greedy(network, ids, list(reply.token_ids), loaded.end_ids)
    engine.close()


@pytest.mark.parametrize("count", [2, pytest.param(20, marks=pytest.mark.full)])
def test_greedy_replies_of_smollm2_equal_those_of_generate(smollm2: Path, count: int) -> None:
    options = Transformers(Model("smollm2", path=str(smollm2)), dtype="float32")
    network, loaded, engine = reference(smollm2), load(options.model, "cpu", "float32"), options.open()
    for text in ASKED[:count]:
        reply = greedy(engine, text)
        close_to_greedy(network, loaded.renderer.ids(prompt(text)), list(reply.token_ids), loaded.end_ids)
    engine.close()


def test_smollm2_knows_the_capital_of_france(smollm2: Path) -> None:
    engine = Transformers(Model("smollm2", path=str(smollm2))).open()
    reply = greedy(engine, "What is the capital of France?")
    engine.close()
    assert (reply.text, reply.finish_reason) == ("The capital of France is Paris.", "stop")
    assert reply.usage.completion_tokens == len(reply.token_ids) == 8


@pytest.mark.parametrize("adds", [False, True])
def test_a_plain_prompt_is_read_without_the_template_and_begins_once(adds: bool) -> None:
    tokenizer = build_tokenizer()
    if adds:
        tokenizer.add_bos_token = True
        begin = [(tokenizer.bos_token, tokenizer.bos_token_id)]
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(f"{begin[0][0]} $A", None, begin)
    renderer, begun = Renderer(tokenizer), [tokenizer.bos_token_id]
    lines = tokenizer.encode("a\nb", add_special_tokens=False)
    plain = Prompt((user("a"), user("b")), plain=True)
    assert renderer.ids(plain) == [*(begun if adds else []), *lines]
    assert renderer.text(plain) == "a\nb"
    written = Prompt((user(tokenizer.bos_token + "a\nb"),), plain=True)
    assert renderer.ids(written) == [*begun, *lines]
    assert renderer.ids(Prompt((user(""),), plain=True)) == begun
    rendered = Prompt((user(renderer.text(prompt("Hi"))),), plain=True)
    assert renderer.ids(rendered)[-20:] == renderer.ids(prompt("Hi"))[-20:]  # control tokens are read by their names


def test_another_seed_draws_other_tokens(random_engine: Engine) -> None:
    first, other = (ask(random_engine, "hello", seed=seed, max_tokens=24) for seed in (1, 2))
    assert first.token_ids != other.token_ids


def test_logprobs_are_those_of_the_unmodified_logits(random_engine: Engine) -> None:
    plain = greedy(random_engine, "hello", 5, logprobs=True)
    loaded = load(Model("random", architecture=SHAPE))
    ids = loaded.renderer.ids(prompt("hello"))
    with torch.inference_mode():
        logits = build_model(SHAPE)(torch.tensor([[*ids, *plain.token_ids]])).logits[0].log_softmax(-1)
    expected = [float(logits[len(ids) - 1 + i, token]) for i, token in enumerate(plain.token_ids)]
    assert plain.logprobs == pytest.approx(expected, abs=1e-4)


def test_a_prompt_that_does_not_fit_is_refused_and_its_neighbour_answered(random_engine: Engine) -> None:
    async def both() -> list[Any]:
        requests = [Request(prompt(text), schedule(temperature=0, max_tokens=8)) for text in ("x" * 500, "short")]
        return await asyncio.gather(*(complete(random_engine, one) for one in requests), return_exceptions=True)

    long, short = asyncio.run(both())
    assert isinstance(long, ContextOverflow)
    assert str(long) == (
        "the prompt has 519 tokens and sampling.max_tokens asks for 8, but the model reads 400. "
        "Choose context=window, a smaller sampling.max_tokens, or a model that reads more."
    )
    assert isinstance(short, Completion)


def test_logits_that_are_not_numbers_fail_their_request_alone(tmp_path: Path) -> None:
    network = tiny.build("Llama")
    with torch.no_grad():
        network.model.embed_tokens.weight[build_tokenizer().encode("Z")] = float("nan")
    engine = Transformers(Model("broken", path=str(tiny.save(tmp_path, "Llama", network)))).open()
    with pytest.raises(EngineError) as caught:
        greedy(engine, "Z")
    assert str(caught.value) == (
        "the model's logits are not finite at generated token 0. Choose dtype=float32, or other weights."
    )
    assert greedy(engine, "a b").usage.completion_tokens > 0
    engine.close()


def test_closing_the_stream_cancels_the_request_within_a_token(random_engine: Engine) -> None:
    async def stop_early() -> float:
        stream = random_engine.generate(Request(prompt("hi"), schedule(max_tokens=300), seed=1))
        await anext(stream)
        await stream.aclose()
        started = time.perf_counter()
        await complete(random_engine, Request(prompt("hi"), schedule(max_tokens=1)))
        return time.perf_counter() - started

    whole = time.perf_counter()
    ask(random_engine, "hi", seed=1, max_tokens=300)
    whole = time.perf_counter() - whole
    assert asyncio.run(stop_early()) < whole / 2


def test_a_closed_engine_refuses_and_leaves_no_thread() -> None:
    engine = Transformers(Model("random", architecture=Architecture(32, 1, 4))).open()
    engine.close()
    with pytest.raises(EngineError, match=r"^the engine was closed before the answer was complete\. Open a new one\.$"):
        greedy(engine, "hi")
    assert not [thread for thread in threading.enumerate() if thread.name == "vllm-flow decode" and not thread.daemon]


def test_the_record_learns_what_runs(random_engine: Engine) -> None:
    facts = random_engine.describe()
    assert facts["engine"] == "transformers"
    assert facts["weights"] == "random, seed 0"
    assert (facts["device"], facts["dtype"], facts["context_length"], facts["template"]) == (
        "cpu",
        "float32",
        400,
        "chat",
    )


def test_every_layer_head_and_width_of_a_custom_model_is_what_was_asked() -> None:
    loaded = load(Model("custom", architecture=Architecture(48, 3, 6, kv_heads=2, vocab_size=300)))
    config = loaded.network.model.config
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (48, 3, 6)
    assert (config.num_key_value_heads, config.vocab_size) == (2, 300)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        ("nothing", "model.path: {path}: there is no such folder. Give one with config.json and .safetensors in it."),
        (
            "empty",
            "model.path: {path}: there is no config.json in it. Give a folder that `save_pretrained` has written.",
        ),
        (
            "pickled",
            "model.path: {path}: there are no .safetensors weights in it (but pytorch_model.bin). Pickled weights can "
            "run code and are never read: convert them with `save_pretrained`; a .gguf file goes into model.gguf.",
        ),
    ],
)
def test_a_folder_without_usable_weights_is_refused(tmp_path: Path, make: str, words: str) -> None:
    path = tmp_path / "model"
    if make != "nothing":
        path.mkdir()
    if make == "pickled":
        (path / "config.json").write_text("{}")
        (path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ModelError) as caught:
        Transformers(Model("x", path=str(path))).open()
    assert str(caught.value) == words.format(path=path)


@pytest.mark.parametrize("revision", [None, "main", "a" * 40])
def test_what_the_hub_gave_once_is_not_asked_for_again_and_its_commit_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, revision: str | None
) -> None:
    kept = tmp_path / "models--me--tiny"
    build_model(SHAPE).save_pretrained(kept / "snapshots" / ("a" * 40))
    build_tokenizer().save_pretrained(kept / "snapshots" / ("a" * 40))
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    steps: list[str] = []
    with observed_by(lambda step, done, total: steps.append(step)):
        loaded = load(Model("tiny", hub="me/tiny", revision=revision))
    assert loaded.facts["weights"] == f"me/tiny@{'a' * 40}"
    assert steps == []


def test_a_hub_that_cannot_be_reached_names_the_ways_without_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    steps: list[tuple[str, int]] = []
    with (
        pytest.raises(ModelError) as caught,
        observed_by(lambda step, done, total: steps.append((step, done))),
    ):
        Transformers(Model("qwen", hub="nobody/none")).open()
    assert steps == [("nobody/none: fetch from the hub", 0)]
    assert str(caught.value).startswith("model.hub: nobody/none cannot be had: ")
    assert str(caught.value).endswith("Without a hub: model=smollm2, or model.path=FOLDER.")
    assert "\n" not in str(caught.value)


def test_threads_spin_less_unless_somebody_has_said_how_they_are_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm_flow.engines.transformers.options import _spin_less

    def after(**environment: str) -> dict[str, str]:
        _spin_less(environment)
        return environment

    assert after() == {}  # PyTorch is imported here, and has read it
    monkeypatch.delitem(sys.modules, "torch")
    assert after() == {"GOMP_SPINCOUNT": "10000"}
    assert after(GOMP_SPINCOUNT="7") == {"GOMP_SPINCOUNT": "7"}
    assert after(OMP_WAIT_POLICY="active") == {"OMP_WAIT_POLICY": "active"}
