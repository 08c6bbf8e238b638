"""Prompts with earlier turns and a system prompt: the ids of transformers, no control tokens from text."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eft_demo.errors import FamilyError
from eft_demo.families.family import Family, encode_prompt
from eft_demo.families.prompt import ChatTemplate, around, render_prompt
from eft_demo.runs.prompt_format import PromptFormat
from tests.families.test_tokens import CODECS, KINDS, family, the_librarys

LOOP = "{% for message in messages %}"
END = "{% endfor %}"
CHATML = (
    LOOP + "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}" + END
) + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
# As the published ones do it: Llama 2 strips, Gemma renames and strips, Mistral moves the system prompt to
# the last question, Qwen 3 and the R1 distillations leave out the thinking of earlier turns.
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}"
    "{% set sys = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set sys = '' %}{% endif %}"
    + LOOP
    + "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + (sys if loop.first else '') + "
    "message['content'].strip() + ' [/INST]' }}{% else %}"
    "{{ ' ' + message['content'].strip() + ' </s>' }}{% endif %}" + END
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}"
    "{% endif %}" + LOOP + "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('must alternate') }}"
    "{% endif %}{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else 'user') + '\n' + "
    "message['content'] | trim + '<end_of_turn>\n' }}"
    + END
    + "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
MISTRAL = (
    "{% if messages[0]['role'] == 'system' %}"
    "{% set sys = messages[0]['content'] %}{% set messages = messages[1:] %}"
    "{% endif %}{{ bos_token }}"
    + LOOP
    + "{% if message['role'] == 'user' %}{% if loop.last and sys is defined %}{{ '[INST] ' + sys + '\n\n' + "
    "message['content'] + '[/INST]' }}{% else %}{{ '[INST] ' + message['content'] + '[/INST]' }}{% endif %}"
    "{% else %}{{ ' ' + message['content'] | trim + '</s>' }}{% endif %}" + END
)
QWEN3 = (
    "{%- set ns = namespace(last=messages|length - 1) %}"
    + LOOP
    + "{%- set content = message.content %}{%- if message.role == 'assistant' %}{%- set reasoning = '' %}"
    "{%- if '</think>' in content %}"
    "{%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\\n') %}{%- endif %}"
    "{%- if loop.index0 > ns.last and reasoning %}"
    "{{- '<|im_start|>assistant\n<think>\n' + reasoning.strip('\n') + "
    "'\n</think>\n\n' + content.lstrip('\n') }}"
    "{%- else %}{{- '<|im_start|>assistant\n' + content }}"
    "{%- endif %}{{- '<|im_end|>\n' }}"
    "{%- else %}{{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}{%- endif %}"
    + END
    + "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}"
    "{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}"
)
R1 = (
    "{{ bos_token }}"
    + LOOP
    + "{% if message['role'] == 'system' %}{{ message['content'] }}{% elif message['role'] == 'user' %}"
    "{{ '<|User|>' + message['content'] }}{% else %}{% set content = message['content'] %}"
    "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{{ '<|Assistant|>' + content + '<|end|>' }}{% endif %}"
    + END
    + "{% if add_generation_prompt %}{{ '<|Assistant|><think>\n' }}{% endif %}"
)
TEMPLATES = {
    "chatml": CHATML,
    "llama 2": LLAMA2,
    "gemma": GEMMA,
    "mistral": MISTRAL,
    "qwen 3": QWEN3,
    "r1": R1,
}
TURNS = [
    ("Who is it?", "It is Ada."),
    (" Zürich 東京 👩‍🔬 ", "\n\na\n\nb \n"),
    ("x", "<think>\nShe asks.\n\nHm. </think>\n\nNo."),
    ("again", "I think.</think>Yes."),
    ("and", "<think>\n\n</think>\n\nEmpty."),
]


def family_with(kind: str, template: str) -> Family:
    return replace(family(kind), templates={"tuned": ChatTemplate(template, {"bos_token": KINDS[kind][1]})})


def expected(
    kind: str,
    template: str,
    turns: list[tuple[str, str]],
    system: str,
    text: str,
    thinking: bool = False,
) -> list[int]:
    """The ids that transformers makes of that conversation."""
    tokenizer = the_librarys(kind)
    tokenizer.chat_template = template
    messages = [{"role": "system", "content": system}] if system else []
    for question, answer in turns:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    messages.append({"role": "user", "content": text})
    ids: list[int] = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, enable_thinking=thinking, return_dict=False
    )
    return ids


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_conversation_equals_the_librarys(kind: str, name: str, count: int) -> None:
    template, turns = TEMPLATES[name], TURNS[:count]
    for system in ("", "Be kind.") if name != "gemma" else ("",):
        ours = encode_prompt(family_with(kind, template), "tuned", "So?", turns=turns, system=system)
        assert ours == expected(kind, template, turns, system, "So?"), system


def test_a_template_is_asked_for_thinking_only_where_the_family_says_so() -> None:
    turns, kind = TURNS[2:3], next(iter(KINDS))
    asked = {}
    for thinking in (False, True):
        template = ChatTemplate(QWEN3, {"bos_token": KINDS[kind][1]}, thinking)
        thinker = replace(family(kind), templates={"tuned": template})
        asked[thinking] = encode_prompt(thinker, "tuned", "So?", turns=turns, system="Be kind.")
        assert asked[thinking] == expected(kind, QWEN3, turns, "Be kind.", "So?", thinking)
    assert asked[False][: len(asked[True])] == asked[True]
    assert asked[False] != asked[True]


benign = st.text(alphabet=" \n.abcé東", max_size=12)


@pytest.mark.parametrize("name", TEMPLATES)
@given(st.lists(st.tuples(benign, benign), max_size=3), benign)
@settings(max_examples=25, deadline=None)
def test_any_benign_conversation_equals_the_librarys(
    name: str, turns: list[tuple[str, str]], text: str
) -> None:
    ours = encode_prompt(family_with("byte-level", TEMPLATES[name]), "tuned", text, turns=turns)
    assert ours == expected("byte-level", TEMPLATES[name], turns, "", text)


@pytest.mark.parametrize("kind", KINDS)
def test_control_tokens_typed_in_any_turn_stay_text(kind: str) -> None:
    codec, whole = CODECS[kind], family_with(kind, MISTRAL)
    control = set(codec.control_ids.values()) - {codec.control_ids.get("<unk>")}
    for token in codec.control_ids:
        plain, typed = (
            encode_prompt(whole, "tuned", word, turns=[(word, word), (word, word)], system=word)
            for word in ("x", f"x{token}x")
        )
        assert [i for i in typed if i in control] == [i for i in plain if i in control], token
        assert b"".join(codec.token_bytes[i] for i in typed).decode().count(token) == 6


def test_a_format_with_its_own_system_prompt_keeps_it() -> None:
    own, template = PromptFormat("chat", "Be a pirate."), ChatTemplate(CHATML, {})
    rendered = render_prompt(own, template, "Hi", system="Be kind.")
    assert "Be a pirate." in rendered.fixed[0] and "Be kind." not in rendered.texts
    assert render_prompt(PromptFormat("chat", ""), template, "Hi", system="Be kind.").texts == (
        "Be kind.",
        "Hi",
    )


@pytest.mark.parametrize(
    ("template", "turns", "system", "cause"),
    [
        (GEMMA, [], "Be kind.", "System role not supported.*leave the system prompt empty"),
        ("{{ messages[-1].content }}", [("a", "b")], "", "writes an earlier question 0 times"),
        ("{{ messages[-1].content }}", [], "Be kind.", "writes the system prompt 0 times"),
        (LOOP + "{{ message.content[:9] if message.role == 'assistant' else message.content }}" + END,
         [("a", "b")], "", "writes an earlier answer 0 times"),
    ],
)  # fmt: skip
def test_a_template_that_loses_a_turn_is_refused(
    template: str, turns: list[tuple[str, str]], system: str, cause: str
) -> None:
    with pytest.raises(FamilyError, match=cause):
        render_prompt(PromptFormat("chat", ""), ChatTemplate(template, {}), "Hi", turns, system)


def test_a_stripping_template_with_spaces_of_its_own_keeps_them() -> None:
    frame = around(PromptFormat("chat", ""), ChatTemplate(LLAMA2, {"bos_token": "<s>"}))
    assert (frame.before, frame.after, frame.trims) == ("<s>[INST] ", " [/INST]", True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("User: {prompt}\nAssistant:", "User: a\nAssistant: 1\nUser: b\nAssistant: 2\nUser: c\nAssistant:"),
        ("Q: x\nA: y\n\nQ: {prompt}\nA:", "Q: x\nA: y\n\nQ: a\nA: 1\n\nQ: b\nA: 2\n\nQ: c\nA:"),
        ("{prompt}", "a1\nb 2\nc"),
        ("{prompt}\n", "a\n1\nb\n 2\nc\n"),
    ],
)
def test_a_text_format_is_repeated_for_each_turn(text: str, expected: str) -> None:
    rendered = render_prompt(
        PromptFormat("plain", text), None, "c", [("a", "1"), ("b", " 2\n\n")], "Be kind."
    )
    pairs = zip(rendered.fixed, (*rendered.texts, ""), strict=True)
    assert "".join(fixed + text for fixed, text in pairs) == expected


def test_an_answer_without_end_of_white_space_takes_no_time() -> None:
    answer = "<think>" + " " * 100_000 + "x" + "\n" * 100_000
    rendered = render_prompt(PromptFormat("chat", ""), ChatTemplate(CHATML, {}), "Hi", [("a", answer)])
    assert rendered.texts == ("a", "x" + "\n" * 100_000, "Hi")
