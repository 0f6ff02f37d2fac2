"""What one request asks of the transformers engine: schedules, ends, templates, and an engine that closes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from vllm_flow.core.errors import EngineError, FlowError, ModelError
from vllm_flow.core.messages import Message, system
from vllm_flow.core.resources import Engine
from vllm_flow.core.values import Completion, Request
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models.spec import Architecture, Model
from vllm_flow.stages.infer import complete
from vllm_flow.testing import ask, prompt, schedule

RANDOM = Model("random", architecture=Architecture(32, 2, 4, max_context=400))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Transformers(RANDOM).open()
    yield engine
    engine.close()


def greedy(engine: Engine, *said: str | Message, **sampling: Any) -> Completion:
    return ask(engine, *(said or ("hi",)), **{"temperature": 0, "max_tokens": 12, **sampling})


def refused(engine: Engine, *said: str | Message, **sampling: Any) -> str:
    with pytest.raises(FlowError) as caught:
        greedy(engine, *said, **sampling)
    return str(caught.value)


def test_a_schedule_is_asked_at_every_token(engine: Engine) -> None:
    cold = greedy(engine).token_ids
    greedy_then_hot = {"piecewise": {"points": [[0, 0.0], [5, 50.0]], "between": "hold"}}
    request = Request(prompt("hi"), schedule(temperature=greedy_then_hot, max_tokens=12), seed=3)
    mixed = asyncio.run(complete(engine, request)).token_ids
    assert mixed[:5] == cold[:5]
    assert mixed != cold


def test_a_strong_penalty_keeps_tokens_from_coming_again(engine: Engine) -> None:
    ids = greedy(engine, max_tokens=60, presence_penalty=1e6).token_ids
    assert len(set(ids)) == len(ids)


def test_it_counts_what_it_reads(engine: Engine) -> None:
    said = (system("Be brief."), "héllo", "🙂")
    counted = 61  # bytes, and two control tokens a message
    assert engine.count(prompt(*said)) == greedy(engine, *said).usage.prompt_tokens == counted


def test_every_id_of_a_list_of_ends_ends_an_answer_and_adds_no_text(tmp_path: Path) -> None:
    engine = Transformers(Model("tiny", path=str(tiny.save(tmp_path / "a", "Qwen2")))).open()
    whole = greedy(engine)
    engine.close()
    end = whole.token_ids[4]
    place = whole.token_ids.index(end)
    engine = Transformers(Model("tiny", path=str(tiny.save(tmp_path / "b", "Qwen2", eos_token_id=[2, end])))).open()
    cut = greedy(engine)
    engine.close()
    assert (cut.token_ids, cut.finish_reason) == (whole.token_ids[: place + 1], "stop")
    assert whole.text.startswith(cut.text)
    assert cut.usage.completion_tokens == place + 1


def test_a_model_without_a_template_reads_the_texts_line_by_line_and_says_so(tmp_path: Path) -> None:
    engine = Transformers(Model("base", path=str(tiny.save(tmp_path, "GPT2", chat=False)))).open()
    assert engine.describe()["template"] == "none"
    assert engine.count(prompt("ab", "c")) == len("ab\nc")
    assert engine.count(prompt()) == 1  # the token that begins a text
    engine.close()


def test_a_template_that_refuses_the_messages_fails_the_request_in_its_words(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path, "Llama")
    template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}x"
    (folder / "chat_template.jinja").write_text(template)
    engine = Transformers(Model("picky", path=str(folder))).open()
    assert refused(engine, system("Be brief."), "hi") == (
        "prompt: the model's chat template refuses these messages: System role not supported. Leave out roles it does not "
        "know, such as system, and let user and assistant take turns."
    )
    assert greedy(engine).usage.prompt_tokens == 1
    engine.close()


def test_an_empty_stop_string_is_refused(engine: Engine) -> None:
    assert refused(engine, stop=("",)) == "sampling.stop: an empty text would end every answer at once. Remove it."


def test_closing_the_engine_fails_what_runs_and_what_waits() -> None:
    async def go() -> list[Any]:
        engine = Transformers(RANDOM).open()
        request = Request(prompt("hi"), schedule(max_tokens=360))
        tasks = [asyncio.create_task(complete(engine, request)) for _ in range(3)]
        await asyncio.sleep(0.05)
        await asyncio.to_thread(engine.close)
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(go())
    assert [type(one) for one in found] == [EngineError] * 3
    assert {str(one) for one in found} == {"the engine was closed before the answer was complete. Open a new one."}


def test_threads_and_a_smaller_dtype_are_honoured() -> None:
    engine = Transformers(RANDOM, dtype="bfloat16", threads=1).open()
    assert engine.describe()["dtype"] == "bfloat16"
    assert greedy(engine).usage.completion_tokens > 0
    json.dumps(dict(engine.describe()))
    engine.close()


def test_the_context_can_be_made_shorter_but_not_longer(tmp_path: Path) -> None:
    folder = str(tiny.save(tmp_path, "Llama"))
    engine = Transformers(Model("tiny", path=folder, context_length=30)).open()
    assert "but the model reads 30." in refused(engine, "x" * 20)
    engine.close()
    with pytest.raises(ModelError) as caught:
        Transformers(Model("tiny", path=folder, context_length=513)).open()
    assert str(caught.value) == ("model.context_length: 513 is more than the 512 tokens this model reads. Lower it.")
