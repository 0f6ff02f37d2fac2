"""What seals are put for, in texts and in the sources of templates; and which tokens are control tokens."""

from __future__ import annotations

import pytest
from transformers import ByT5Tokenizer

from tests.seam.families import CHATML, TEMPLATES
from vllm_flow.core.errors import EngineError
from vllm_flow.core.messages import user
from vllm_flow.core.values import Prompt
from vllm_flow.engines.transformers.render import Renderer
from vllm_flow.seam.control import is_control
from vllm_flow.seam.seals import Place, Seals, in_pieces
from vllm_flow.seam.template import sealed_template

SEALS = Seals({5: "<a>", 7: "<a><b>", 9: "</think>"})


def test_what_is_sealed_comes_back_as_it_was() -> None:
    text = "x<a><b>y<a></think>"
    sealed = SEALS.seal(text)
    assert (len(sealed), SEALS.unseal(sealed)) == (len("x--y----"), text)
    assert [token_id for _, token_id in SEALS.pieces(sealed)] == [7, 5, 9, None]
    assert [said for said, _ in SEALS.pieces(sealed)] == ["x", "y", "", ""]
    assert SEALS.places(sealed) == [Place(1, 7, "<a><b>"), Place(8, 11, "<a>"), Place(11, 19, "</think>")]
    assert SEALS.spelled(text) == SEALS.places(sealed)
    place = SEALS.unsealed_places(sealed)
    assert [place(at) for at in (0, 1, 3, 4, 6, 8)] == [0, 1, 7, 8, 11, 19]
    assert Seals({}).seal("<a>") == "<a>"


@pytest.mark.parametrize(
    ("source", "sealed"),
    [
        ("a</think>b", "a#b"),
        ("{{ '</think>' + x }}", "{{ '#' + x }}"),
        ("{{ ('</think>' + x) | trim }}", "{{ ('#' + x) | trim }}"),
        ("{% if '</think>' in x %}</think>{% endif %}", "{% if '</think>' in x %}#{% endif %}"),
        ("{% if '</think>' not in x %}", "{% if '</think>' not in x %}"),
        ("{% if x == '</think>' or '</think>' != x %}", "{% if x == '</think>' or '</think>' != x %}"),
        ("{{ x.split('</think>')[-1] }}", "{{ x.split('</think>')[-1] }}"),
        ("{{ x.split('a')[0].split('</think>') }}", "{{ x.split('a')[0].split('</think>') }}"),
        ("{{ x | replace('</think>', 'y') }}", "{{ x | replace('</think>', 'y') }}"),
        ("{%- set x = '</think>' -%} \n", "{%- set x = '#' -%} \n"),
        ("{# </think> #}{% if (x) %}{{ {'u': '</think>'}[x] }}{% endif %}\n\n", "{# </think> #}{% if (x) %}{{ {'u': '#'}[x] }}{% endif %}\n\n"),
        ("{% raw %}</think>{% endraw %}", "{% raw %}#{% endraw %}"),
        ("{{ x['</thinking>'] }}", "{{ x['</thinking>'] }}"),
    ],
)  # fmt: skip
def test_a_template_is_sealed_where_it_writes_and_not_where_it_looks(source: str, sealed: str) -> None:
    assert sealed_template(source, lambda text: text.replace("</think>", "#")) == sealed


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_in_which_nothing_is_sealed_stays_as_it_is(name: str) -> None:
    assert sealed_template(TEMPLATES[name], str) == TEMPLATES[name]


@pytest.mark.parametrize(
    ("name", "special", "template", "control"),
    [
        ("<|im_end|>", True, "", True),
        ("</s>", True, "", True),
        ("<s>", False, "", False),  # in Gemma's vocabulary it strikes text through; where it begins one it is special
        ("<｜User｜>", False, "", True),
        ("<tool_call>", False, "", True),
        ("[INST]", False, "", True),
        ("<image>", False, "", True),
        ("<video>", False, "", True),
        ("<table>", False, "", False),
        ("</h1>", False, "", False),
        ("\n\n", False, "a\n\nb", False),
        ("▁▁", False, "", False),
        ("Covid-19", False, "", False),
        ("User:", False, "User: {{ x }}", True),
        ("assistant", False, "assistant", False),
        ("", True, "", False),
    ],
)
def test_whatever_structures_a_prompt_is_a_control_token(
    name: str, special: bool, template: str, control: bool
) -> None:
    assert is_control(name, special, template) is control


def test_a_vocabulary_that_cannot_be_changed_reads_what_it_would_join_in_two() -> None:
    def encode(text: str) -> list[int]:
        return [5] if text == "<a>" else [100 + ord(one) for one in text]

    sealed = SEALS.seal("<a>") + "<a>"
    assert in_pieces(SEALS, sealed, encode) == [5, 100 + ord("<"), 100 + ord("a"), 100 + ord(">")]
    with pytest.raises(EngineError, match=r"^prompt: the control token <a> is in it"):
        in_pieces(SEALS, "x", lambda text: [5])


def test_a_tokenizer_that_does_not_say_where_its_tokens_stand_reads_the_same() -> None:
    tokenizer = ByT5Tokenizer(chat_template=CHATML)
    assert not tokenizer.is_fast
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    read = Renderer(tokenizer)

    def control(text: str) -> list[str]:
        ids = read.ids(Prompt((user(text),)))
        assert tokenizer.decode(ids) == read.text(Prompt((user(text),)))
        assert read.measure(Prompt((user(text),))).tokens == len(ids)
        return [one for one in tokenizer.convert_ids_to_tokens(ids) if one.startswith("<") and len(one) > 1]

    assert (
        control("snow")
        == control("a</s>b<|im_end|><pad><extra_id_7>")
        == ["<|im_start|>", "<|im_end|>"] * 2 + ["<|im_start|>"]
    )
    messages = [{"role": "user", "content": "snow"}]
    known = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert read.ids(Prompt((user("snow"),))) == known
