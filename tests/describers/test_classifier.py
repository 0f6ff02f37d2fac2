"""The tagger: a classifier's own probabilities, each picture once, alone or in company."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

from tests.describers.tiny import LABELS, tiny_classifier
from tests.pictures import drawn, forgotten
from vllm_flow.core.describing import NotDescribed, Tag, Tagger
from vllm_flow.core.errors import ModelError
from vllm_flow.core.media import Image
from vllm_flow.describers import Classifier
from vllm_flow.media import pixels
from vllm_flow.models.pull import pulled

PICTURES = [drawn("red", "red.png", "STOP"), drawn("blue", "blue.png"), drawn("green", "tall.png", size=(40, 300))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_classifier(tmp_path_factory.mktemp("classifier"))


def tagged(tagger: Tagger, *images: Image) -> list[tuple[Tag, ...]]:
    async def all_at_once() -> list[tuple[Tag, ...]]:
        return await asyncio.gather(*(tagger.tags(one) for one in images))

    return asyncio.run(all_at_once())


def test_the_probabilities_are_the_models_own(folder: Path) -> None:
    tagger = Classifier(path=str(folder)).open()
    model = AutoModelForImageClassification.from_pretrained(folder)
    prepare = AutoImageProcessor.from_pretrained(folder, backend="pil")
    for image, found in zip(PICTURES, tagged(tagger, *PICTURES), strict=True):
        with torch.inference_mode():
            expected = model(**prepare(images=pixels(image), return_tensors="pt")).logits[0].softmax(-1)
        assert {one.label: one.probability for one in found} == dict(zip(LABELS, expected.tolist(), strict=True))
        assert [one.probability for one in found] == sorted(expected.tolist(), reverse=True)
    assert len({found[0].probability for found in tagged(tagger, *PICTURES)}) == 3
    tagger.close()


def test_only_the_most_probable_labels_are_given(folder: Path) -> None:
    whole, few = Classifier(path=str(folder)).open(), Classifier(path=str(folder), most=2).open()
    assert tagged(few, PICTURES[0])[0] == tagged(whole, PICTURES[0])[0][:2]


def test_a_picture_is_looked_at_once_as_long_as_it_is_remembered_and_a_tenant_does_not_notice_another(
    folder: Path,
) -> None:
    tagger = Classifier(path=str(folder), remembered=2).open()
    looked, look = list[tuple[int, int]](), tagger._looking._look  # type: ignore[attr-defined]
    tagger._looking._look = lambda picture: looked.append(picture.size) or look(picture)  # type: ignore[attr-defined]
    first, *_ = tagged(tagger, *[PICTURES[0]] * 9)
    assert len(looked) == 1
    assert tagged(tagger, forgotten(PICTURES[0])) == [first]
    assert asyncio.run(tagger.tags(PICTURES[0], tenant="ben")) == first
    assert len(looked) == 2
    tagged(tagger, *PICTURES, PICTURES[0])
    assert len(looked) == 5
    tagger.close()


def test_a_picture_without_content_is_told_of(folder: Path) -> None:
    tagger = Classifier(path=str(folder)).open()
    with pytest.raises(NotDescribed, match="its content is not here any more"):
        asyncio.run(tagger.tags(forgotten(PICTURES[0])))
    assert len(tagged(tagger, PICTURES[0])[0]) == 4


def test_it_says_which_model_it_is(folder: Path) -> None:
    about = Classifier(path=str(folder)).open().describe()
    assert {**about, "weights_sha256": len(about["weights_sha256"]), "tokenizer_sha256": 0} == {
        "tagger": "transformers", "model": folder.name, "labels": 4, "weights_sha256": 64, "tokenizer_sha256": 0,
    }  # fmt: skip


def test_what_is_no_classifier_is_said_in_a_line(folder: Path, tmp_path: Path) -> None:
    def problem(path: Path) -> str:
        with pytest.raises(ModelError) as failure:
            Classifier(path=str(path)).open()
        return str(failure.value)

    needed = "config.json, model.safetensors, preprocessor_config.json"
    lost = tmp_path / "lost"
    assert problem(lost) == f"tagger.path: {lost}: there is no such folder. Give one with {needed} in it."
    shutil.copytree(folder, lost)
    (lost / "config.json").write_text("{}")
    assert problem(lost).startswith(f"tagger.path: {lost}: it cannot be read: ")
    assert problem(lost).endswith(". Give a classifier of pictures as transformers saves it.")
    (lost / "preprocessor_config.json").unlink()
    assert (
        problem(lost)
        == f"tagger.path: {lost}: there is no preprocessor_config.json in it. Give a folder with {needed}."
    )


def test_options_that_name_no_classifier_are_refused_and_of_several_sources_one_counts() -> None:
    def problems(**options: str) -> list[str]:
        return [getattr(one, "problem", one) for one in Classifier(**options).problems()]

    assert (
        problems(path="anywhere") == problems(hub="google/vit-base-patch16-224") == problems(package="imagenet") == []
    )
    assert problems() == ["nothing says where the weights are. Give package (imagenet), path or hub."]
    assert problems(package="imagenet", hub="a/b") == []
    assert Classifier(package="imagenet", hub="a/b")._place() == ("a/b", "tagger.hub: a/b")
    assert problems(package="imagnet") == [
        "there is no packaged tagger 'imagnet'. Did you mean 'imagenet'? There are: imagenet."
    ]


@pytest.mark.skipif(pulled("imagenet") is None, reason="the weights are not here: vllm-flow models pull imagenet")
def test_the_packaged_one_tells_a_plain_colour_from_text() -> None:
    tagger = Classifier(package="imagenet").open()
    colour, text = tagged(tagger, drawn("blue", size=(256, 256)), drawn("white", text="Opening hours", size=(256, 96)))
    assert len(colour) == len(text) == 20
    assert colour[0].label != text[0].label
    tagger.close()
