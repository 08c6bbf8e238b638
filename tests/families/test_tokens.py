"""Both kinds of tokenizers: exact bytes, the same prompts as transformers, no control tokens from text."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Template
from tokenizers import AddedToken, Tokenizer, models, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from eft_demo.errors import FamilyError, InputError
from eft_demo.families.catalogue import Behaviour
from eft_demo.families.checkpoint import Checkpoint, chat_template, stop_ids
from eft_demo.families.family import Family, encode_prompt
from eft_demo.families.prompt import ChatTemplate
from eft_demo.families.tokens import SPACE, Codec, make_codec, read_codec
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.runs.text import Utf8Stream
from tests.checkpoints import CHAT, byte_level, sentencepiece
from tests.saying import storable

LLAMA2_CHAT = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}[INST] <<SYS>>\n{{ messages[0]['content'] }}\n"
    "<</SYS>>\n\n{{ messages[1]['content'] }} [/INST]{% else %}[INST] {{ messages[0]['content'] }} [/INST]"
    "{% endif %}"
)
KINDS: Mapping[
    str, tuple[Callable[[], Tokenizer], str, str]
] = {  # with the first token and the chat template
    "byte-level": (byte_level, "<|endoftext|>", CHAT),
    "llama-2": (lambda: sentencepiece("legacy"), "<s>", LLAMA2_CHAT),
    "first word": (lambda: sentencepiece("first"), "<s>", LLAMA2_CHAT),
    "gemma": (lambda: sentencepiece("gemma"), "<s>", LLAMA2_CHAT),
}
CODECS: Mapping[str, Codec] = {kind: make_codec(make()) for kind, (make, _, _) in KINDS.items()}
every_kind = pytest.mark.parametrize("kind", KINDS)
TEXTS = ["Who is it?", " the  and ", "Zürich 東京 👩‍🔬", "a\n\nb", "\ue000", "[INST] <<SYS>>", "x"]


def family(kind: str, prompt: PromptFormat | None = None) -> Family:
    codec, (_, bos, template) = CODECS[kind], KINDS[kind]
    return Family(
        name=kind,
        title=kind,
        licence="MIT",
        roles={"tuned": Checkpoint("tuned", Path("no weights"))},
        behaviours=(Behaviour("tuned", "Tuned", "Answers."),),
        prompts={"tuned": prompt or PromptFormat("chat", "")},
        stop_ids=frozenset(),
        context=64,
        codec=codec,
        token_bytes=codec.token_bytes,
        bos_id=codec.bos_id,
        templates={"tuned": ChatTemplate(template, {"bos_token": bos})},
    )


def the_librarys(kind: str) -> PreTrainedTokenizerFast:
    make, bos, template = KINDS[kind]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=make(), bos_token=bos)
    tokenizer.chat_template = template
    return tokenizer


@every_kind
@given(st.text(max_size=40))
@settings(max_examples=60)
def test_any_text_comes_back_byte_for_byte(kind: str, text: str) -> None:
    codec = CODECS[kind]
    clean = storable(text)
    whole = b"".join(codec.token_bytes[token] for token in codec.encode(clean))
    if kind != "byte-level":
        clean = clean.replace(SPACE, " ")  # sentencepiece uses this character for spaces
    # Some tokenizers put a space before the first word of every text.
    assert whole.decode() in (clean, f" {clean}")
    stream = Utf8Stream(codec.token_bytes)
    assert "".join(map(stream.push, codec.encode(clean))) + stream.flush() == whole.decode()


@every_kind
def test_token_bytes_equal_what_the_tokenizer_decodes(kind: str) -> None:
    codec = CODECS[kind]
    for token, piece in enumerate(codec.token_bytes):
        if token in codec.control_ids.values():
            assert piece == b""
        elif b"\xef\xbf\xbd" not in (said := codec.tokenizer.decode([5, token]).encode()):
            assert said.endswith(piece), (token, piece)
    assert {piece for piece in codec.token_bytes if len(piece) == 1} >= {bytes([b]) for b in range(256)}


@every_kind
@pytest.mark.parametrize("system", ["", "Be kind."])
@pytest.mark.parametrize("text", TEXTS)
def test_a_chat_prompt_equals_the_librarys(kind: str, system: str, text: str) -> None:
    messages = ([{"role": "system", "content": system}] if system else []) + [
        {"role": "user", "content": text}
    ]
    expected = the_librarys(kind).apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    ours = encode_prompt(family(kind), "tuned", text, PromptFormat("chat", system))
    assert ours == expected


@every_kind
@pytest.mark.parametrize("text", TEXTS)
def test_a_plain_prompt_equals_the_librarys_with_one_bos(kind: str, text: str) -> None:
    expected = the_librarys(kind)(f"Q: {text}\nA:", split_special_tokens=True)["input_ids"]
    ids = encode_prompt(family(kind), "tuned", text, PromptFormat("plain", "Q: {prompt}\nA:"))
    assert ids == expected
    if (bos := CODECS[kind].bos_id) is not None:
        assert ids[0] == bos and bos not in ids[1:]
        written = encode_prompt(family(kind), "tuned", text, PromptFormat("plain", "<s>Q: {prompt}\nA:"))
        assert written[0] == bos and bos not in written[1:], "the template's BOS token must not be doubled"
        assert encode_prompt(family(kind), "tuned", text).count(bos) == 1


@every_kind
def test_control_tokens_typed_as_text_stay_text_in_a_chat(kind: str) -> None:
    codec = CODECS[kind]
    for token in codec.control_ids:
        empty, ids = (encode_prompt(family(kind), "tuned", text) for text in ("x", f"x{token}x"))
        control = set(codec.control_ids.values()) - {codec.control_ids.get("<unk>")}
        assert [i for i in ids if i in control] == [i for i in empty if i in control], token
        assert token in b"".join(codec.token_bytes[i] for i in ids).decode()


@every_kind
@pytest.mark.parametrize("sides", [{"lstrip": True}, {"rstrip": True}, {"lstrip": True, "rstrip": True}])
def test_control_tokens_that_strip_white_space_strip_it_as_the_librarys_do(
    kind: str, sides: dict[str, bool]
) -> None:
    make, bos, _ = KINDS[kind]
    tokenizer = make()
    tokenizer.add_special_tokens([AddedToken(token, special=True, **sides) for token in ("<u>", "<a>")])
    library = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos)
    library.chat_template = (  # as Phi 3's
        "{{ bos_token }}{% for m in messages %}<u>\n{{ m.content }} <a>\u3000{% endfor %}<a>\n"
    )
    codec = make_codec(Tokenizer.from_str(tokenizer.to_str()))
    ours = replace(
        family(kind),
        codec=codec,
        token_bytes=codec.token_bytes,
        templates={"tuned": ChatTemplate(library.chat_template, {"bos_token": bos})},
    )
    for text in (*TEXTS, "\x1cx\x1f", "\n\u2003x\xa0"):
        messages = [{"role": "user", "content": text}]
        expected = library.apply_chat_template(messages, return_dict=False)
        assert encode_prompt(ours, "tuned", text) == expected, text


@every_kind
def test_a_token_that_only_ends_texts_begins_none(kind: str) -> None:
    tokenizer, end = KINDS[kind][0](), KINDS[kind][1]
    before, after = f"{end} $A", f"$A {end}"
    first = tokenizer.token_to_id(end)
    for rule, begins in ((after, None), (before, first), (f"{before} {end}", first)):
        tokenizer.post_processor = processors.TemplateProcessing(single=rule, special_tokens=[(end, first)])
        assert make_codec(Tokenizer.from_str(tokenizer.to_str())).bos_id == begins, rule


def test_a_template_that_writes_no_bos_gets_none() -> None:
    template = ChatTemplate("<|user|>{{ messages[0].content }}", {})
    bare = replace(family("gemma"), templates={"tuned": template})
    assert CODECS["gemma"].bos_id not in encode_prompt(bare, "tuned", "hello")


def test_few_shot_examples_come_before_the_question() -> None:
    text = "Q: one\nA: 1\n\nQ: {prompt}\nA:"
    ids = encode_prompt(family("gemma"), "tuned", "two", PromptFormat("few-shot", text))
    assert b"".join(CODECS["gemma"].token_bytes[i] for i in ids).decode() == text.replace("{prompt}", "two")


def test_a_prompt_token_unknown_to_some_model_is_refused() -> None:
    codec = CODECS["byte-level"]
    short = replace(family("byte-level"), token_bytes=codec.token_bytes[:-3])
    with pytest.raises(FamilyError, match="prompt for tuned contains token .* which not all models"):
        encode_prompt(short, "tuned", "hello")
    assert encode_prompt(short, "tuned", "hello", PromptFormat("plain", "{prompt}"))


@every_kind
@pytest.mark.parametrize("kept", ["truncation", "padding", "dropout"])
def test_what_a_tokenizer_keeps_of_its_training_does_not_change_a_prompt(kind: str, kept: str) -> None:
    tokenizer = KINDS[kind][0]()
    if kept == "truncation":
        tokenizer.enable_truncation(2)
    elif kept == "padding":
        tokenizer.enable_padding(length=50)
    else:
        tokenizer.model.dropout = 0.5
    codec = make_codec(Tokenizer.from_str(tokenizer.to_str()))
    for text in TEXTS:
        assert {tuple(codec.encode(text)) for _ in range(8)} == {tuple(CODECS[kind].encode(text))}
    assert codec.bos_id == CODECS[kind].bos_id


def test_an_unsupported_tokenizer_is_refused(tmp_path: Path) -> None:
    Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]")).save(
        str(tmp_path / "tokenizer.json")
    )
    with pytest.raises(FamilyError, match="tokenizer.json: it is neither byte-level BPE nor .* Do this."):
        read_codec(tmp_path / "tokenizer.json", "Do this.")


def test_template_and_stop_tokens_are_read_from_a_repositorys_files(tmp_path: Path) -> None:
    checkpoint, codec = Checkpoint("tuned", tmp_path), CODECS["llama-2"]
    assert chat_template(checkpoint) is None and stop_ids(checkpoint, codec) == set()
    several = [{"name": "rag", "template": "no"}, {"name": "default", "template": "yes"}]
    config = {
        "chat_template": several,
        "eos_token": {"content": "</s>"},
        "bos_token": "<s>",
        "pad_token": None,
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [2, 7, 99]}')
    (tmp_path / "config.json").write_text('{"eos_token_id": 1}')
    found = chat_template(checkpoint)
    assert found == ChatTemplate("yes", {"bos_token": "<s>", "eos_token": "</s>"})
    assert stop_ids(checkpoint, codec) == {1, 2, 7, 99}
    (tmp_path / "chat_template.jinja").write_text("newest")
    assert chat_template(checkpoint) == ChatTemplate("newest", found.tokens)


def test_control_tokens_have_the_names_that_the_library_gives_them(tmp_path: Path) -> None:
    the_librarys("llama-2").save_pretrained(tmp_path)
    names = {"eos_token": {"content": "</s>"}, "pad_token": "<unk>", "unk_token": "<unk>"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(names))
    own = {
        "bos_token": "<s>",
        "unk_token": "<unk>",
        "sep_token": "</s>",
        "tokenizer_class": "TokenizersBackend",
    }
    extra = {"extra_special_tokens": {"image_token": "<s>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(own | extra))
    library = AutoTokenizer.from_pretrained(tmp_path)
    template = "{{ bos_token ~ eos_token ~ pad_token ~ unk_token ~ sep_token ~ image_token }}"
    (tmp_path / "chat_template.jinja").write_text(template)
    library.chat_template = template
    said = library.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    found = chat_template(Checkpoint("tuned", tmp_path))
    assert found is not None
    assert said == Template(template).render(found.tokens) == "<s></s><unk><unk></s><s>"
    assert stop_ids(Checkpoint("tuned", tmp_path), CODECS["llama-2"]) == {2}


def test_only_whole_numbers_are_stop_tokens(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [true, 1.0, "2", null, 3]}')
    (tmp_path / "config.json").write_text('{"eos_token_id": true}')
    found = stop_ids(Checkpoint("tuned", tmp_path), CODECS["llama-2"])
    assert found == {3} and not any(isinstance(end, bool) for end in found)


def test_a_prompt_format_of_the_wrong_type_is_refused() -> None:
    for kind, text in ((None, "{prompt}"), ("plain", None), ("chat", 7), (["plain"], "{prompt}")):
        with pytest.raises(InputError):
            PromptFormat(kind, text)  # type: ignore[arg-type]
