"""The embedder: vectors held against those that transformers' own classes give, of a tiny model and of the real one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from tests.embedders.tiny import tiny_sentences
from vllm_flow.core.embedding import Embedder
from vllm_flow.core.errors import ConfigError, ModelError
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.spec import RunSpec
from vllm_flow.embedders import Sentences

TEXTS = (
    "The cat sits on the mat.",
    "明天北京天气怎么样？",
    "a",
    "",
    "Ünïcode  with   spaces, and some more words " * 3,
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sentences(tmp_path_factory.mktemp("tiny"))


def embedded(options: Sentences, *texts: str, **kind: Any) -> Any:
    embedder = options.open()
    try:
        assert isinstance(embedder, Embedder)
        return asyncio.run(embedder.embed(texts, **kind))
    finally:
        embedder.close()


def reference(folder: Path, text: str, *, first: bool = False) -> Any:
    """As the model's card has it: the states of the last layer, pooled under the attention mask, then normalised."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    given = tokenizer([text], truncation=False, return_tensors="pt")
    with torch.inference_mode():
        states = model(**given).last_hidden_state
    mask = given["attention_mask"][..., None]
    pooled = states[:, 0] if first else (states * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(pooled, dim=1)[0].numpy()


def test_vectors_are_those_of_transformers(tiny: Path) -> None:
    found = embedded(Sentences(path=str(tiny)), *TEXTS)
    assert (found.shape, found.dtype) == ((5, 16), numpy.float32)
    for text, vector in zip(TEXTS, found, strict=True):
        assert numpy.abs(vector - reference(tiny, text)).max() < 1e-6, text
    assert numpy.allclose((found**2).sum(1), 1, atol=1e-6)
    assert embedded(Sentences(path=str(tiny))).shape == (0, 16)


def test_the_real_model_gives_the_vectors_of_transformers_and_finds_what_is_meant(minilm: Path) -> None:
    found = embedded(Sentences(package="minilm"), *TEXTS)
    assert found.shape == (5, 384)
    for text, vector in zip(TEXTS, found, strict=True):
        assert numpy.abs(vector - reference(minilm, text)).max() < 1e-5, text
    asked, *said = embedded(
        Sentences(path=str(minilm)),
        "What is my pet called?", "I have a cat named Mochi.", "The train leaves at nine.", "I like to swim.",
    )  # fmt: skip
    assert int(numpy.argmax(numpy.stack(said) @ asked)) == 0


def test_a_text_longer_than_the_window_is_read_whole(tiny: Path) -> None:
    start, end = "the same beginning " * 30, "and then another end"
    one, other = embedded(Sentences(path=str(tiny)), start, start + end)
    assert numpy.abs(one - other).max() > 1e-3  # the tokenizer, as it is saved, would have cut both to the same


def test_a_vector_does_not_depend_on_the_texts_beside_it(tiny: Path) -> None:
    together = embedded(Sentences(path=str(tiny)), *TEXTS, TEXTS[0])
    alone = [embedded(Sentences(path=str(tiny)), text)[0] for text in TEXTS]
    assert [vector.tobytes() for vector in together] == [vector.tobytes() for vector in (*alone, alone[0])]


def test_what_has_been_embedded_is_not_embedded_again_and_the_oldest_is_forgotten(tiny: Path) -> None:
    embedder: Any = Sentences(path=str(tiny), remembered=2).open()
    asked: list[str] = []
    plain = embedder._vector
    embedder._vector = lambda text, kind: (asked.append(text), plain(text, kind))[1]
    for texts in (("a", "b"), ("a", "b", "a"), ("c",), ("b", "c"), ("a",)):
        asyncio.run(embedder.embed(texts))
    assert asked == ["a", "b", "c", "a"]
    asyncio.run(embedder.embed(("a",), tenant="another"))  # who must not be told, by the time it takes
    assert asked == ["a", "b", "c", "a", "a"]
    embedder.close()


def test_vectors_of_documents_are_kept_for_the_next_run_and_no_others(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_FLOW_CACHE", str(tmp_path))
    asked: list[str] = []

    def embed(*texts: str, **how: Any) -> Any:
        embedder: Any = Sentences(path=str(tiny)).open()
        plain = embedder._vector
        embedder._vector = lambda text, kind: (asked.append(text), plain(text, kind))[1]
        try:
            return asyncio.run(embedder.embed(texts, **how))
        finally:
            embedder.close()

    first = embed("a", "b", keep=True)
    assert numpy.array_equal(embed("b", "c", "a", keep=True)[[2, 0]], first)
    assert asked == ["a", "b", "c"]
    embed("said")
    embed("said")
    embed("asked", kind="question", keep=True)
    embed("asked", kind="question", keep=True)
    assert asked == ["a", "b", "c", "said", "said", "asked", "asked"]
    (file,) = (tmp_path / "vectors").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(b"no database" * 100)
    assert numpy.array_equal(embed("a", "b", keep=True), first)


def test_questions_and_passages_may_be_read_with_other_words_before_them(tiny: Path) -> None:
    options = Sentences(path=str(tiny), before_questions="query: ", before_passages="passage: ")
    asked, said = embedded(options, "cats", kind="question")[0], embedded(options, "cats")[0]
    plain = Sentences(path=str(tiny))
    assert numpy.array_equal(asked, embedded(plain, "query: cats")[0])
    assert numpy.array_equal(said, embedded(plain, "passage: cats")[0])


def test_a_model_may_be_pooled_by_its_first_token_and_by_nothing_else_unheard_of(tmp_path: Path) -> None:
    folder = tiny_sentences(tmp_path)
    pooling = folder / "1_Pooling" / "config.json"
    pooling.parent.mkdir()
    pooling.write_text(json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    found = embedded(Sentences(path=str(folder)), TEXTS[0])[0]
    assert numpy.abs(found - reference(folder, TEXTS[0], first=True)).max() < 1e-6
    pooling.write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(ModelError) as told:
        Sentences(path=str(folder)).open()
    problem = "it is pooled by pooling_mode_max_tokens, and here only by the mean or the first token"
    assert str(told.value) == f"embedder.path: {folder}: {problem}. Choose another model."


def test_the_record_knows_the_model(tiny: Path) -> None:
    embedder = Sentences(path=str(tiny)).open()
    facts = embedder.describe()
    embedder.close()
    assert {**facts, "weights_sha256": 0, "tokenizer_sha256": 0} == {
        "embedder": "transformers", "model": tiny.name, "width": 16, "window": 150, "pooling": "mean",
        "weights_sha256": 0, "tokenizer_sha256": 0,
    }  # fmt: skip


def test_what_is_no_such_folder_is_said(tiny: Path, tmp_path: Path) -> None:
    def told(path: Path) -> str:
        with pytest.raises(ModelError) as caught:
            Sentences(path=str(path)).open()
        return str(caught.value)

    none, empty = tmp_path / "none", tmp_path / "empty"
    empty.mkdir()
    needed = "config.json, model.safetensors, tokenizer.json"
    assert told(none) == f"embedder.path: {none}: there is no such folder. Give one with {needed} in it."
    assert told(empty) == f"embedder.path: {empty}: there is no config.json in it. Give a folder with {needed}."
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (empty / name).write_text("{")
    said = told(empty)
    assert said.startswith(f"embedder.path: {empty}: it cannot be read: ")
    assert said.endswith(". Give a folder as sentence-transformers writes it.")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "resources.embedder: nothing says where the weights are. Give package (minilm) or path."),
        (
            {"package": "minilm6"},
            "resources.embedder.package: there is no packaged embedder 'minilm6'. Did you mean 'minilm'? There are: minilm.",
        ),
        (
            {"package": "smollm2"},
            "resources.embedder.package: there is no packaged embedder 'smollm2'. There are: minilm.",
        ),
    ],
)
def test_weights_that_nobody_knows_are_refused_before_anything_runs(options: dict[str, str], problem: str) -> None:
    resources = {"embedder": {"use": "embedder/transformers", **options}}
    spec = RunSpec("x", {"reply": {"use": "infer/generate"}}, "reply", resources=resources)
    with pytest.raises(ConfigError) as told:
        Pipeline.build(spec)
    assert problem in str(told.value).splitlines()


def test_what_a_text_spells_is_no_control_token(tiny: Path) -> None:
    embedder: Any = Sentences(path=str(tiny)).open()
    try:
        for text in ("a [SEP] b", "[CLS]", "[MASK][PAD]", "x[SEP]", "\U0010fffe\U000f0003 [SEP]"):
            (ids,) = embedder._windows(text)
            assert [ids[0], ids[-1]] == [2, 3]
            assert not {0, 2, 3, 4}.intersection(ids[1:-1])
        assert next(embedder._windows("[SEP]"))[1:-1] == [*embedder._tokenizer.encode("[ SEP ]").ids[1:-1]]
    finally:
        embedder.close()
