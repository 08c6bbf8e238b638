"""Limits and switches: any input becomes a number within its limits or an error that names them."""

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.errors import EFTError, InputError, NumericalError
from eft_demo.settings import (
    ALPHA,
    CONTROLS,
    SEED,
    TEMPERATURE,
    TOP_P,
    Settings,
    check_control,
    check_number,
    notes_on_unknown,
    show_value,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(json_values, st.booleans())
def test_check_number_returns_a_number_within_limits_or_raises(value: Any, integer: bool) -> None:
    try:
        number = check_number("Alpha", value, 0, 3, integer=integer)
    except InputError as error:
        empty = value is None or (isinstance(value, str) and not value.strip())
        assert str(error).startswith("Alpha is empty" if empty else "Alpha must be a")
        assert "from 0 to 3" in str(error) and "None" not in str(error)
        assert empty or "got" in str(error)
        assert len(str(error)) < 200
    else:
        assert 0 <= number <= 3 and type(number) is (int if integer else float)


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, "1", "", None, True, [1], {}, 3.0001, -1e-9, 10**400, 1j, object()],
    ids=lambda value: str(value)[:9],
)
def test_values_other_than_numbers_in_range_are_refused(value: Any) -> None:
    with pytest.raises(InputError):
        ALPHA.check(value)


def test_limits_are_inclusive_unless_above_low() -> None:
    assert ALPHA.check(0) == 0 and ALPHA.check(3) == 3
    assert SEED.check(2**32 - 1) == 2**32 - 1
    assert TOP_P.check(1) == 1.0
    with pytest.raises(InputError, match="above 0 and up to 1"):
        TOP_P.check(0)
    with pytest.raises(InputError, match="0 to 4294967295"):
        SEED.check(2**32)


def test_defaults_lie_within_their_limits() -> None:
    for limits in (*CONTROLS.values(), TEMPERATURE, TOP_P, SEED):
        assert limits.check(limits.default) == limits.default


@pytest.mark.parametrize("name", ["gamma", "", None, 3, ["alpha"], "Alpha"])
def test_an_unknown_control_is_refused_by_name(name: Any) -> None:
    with pytest.raises(InputError, match="alpha and beta"):
        check_control(name, 1.0)
    assert check_control("alpha", 2) == 2.0


@given(json_values)
def test_any_value_has_a_short_representation(value: Any) -> None:
    shown = show_value(value)
    assert len(shown) < 80 and shown.isascii()


@pytest.mark.parametrize("name", [field.name for field in fields(Settings) if field.type in (int, float)])
@pytest.mark.parametrize("value", [-1, 1e9, math.nan, "1", True])
def test_every_number_of_the_settings_has_limits(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"EFT_{name.upper()} must be"):
        Settings(**{name: value})


def test_settings_come_from_the_environment() -> None:
    environ = {
        "EFT_HOST": "0.0.0.0",
        "EFT_PORT": "8080",
        "EFT_DTYPE": "fp32",
        "EFT_DEADLINE_S": "2.5",
        "EFT_THREADS": "",
    }
    settings = Settings.from_env({**environ, "EFT_ASSETS": "/tmp/x", "OTHER": "1"})
    assert (settings.host, settings.port, settings.dtype, settings.deadline_s) == (
        "0.0.0.0",
        8080,
        "fp32",
        2.5,
    )
    assert settings.assets == Path("/tmp/x") and settings.threads == Settings().threads


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("EFT_PORT", "http"),
        ("EFT_HOST", " "),
        ("EFT_HOST", "[]"),
        ("EFT_PORT", "70000"),
        ("EFT_PORT", "80.5"),
        ("EFT_DTYPE", "int4"),
        ("EFT_DEADLINE_S", "nan"),
        ("EFT_DEADLINE_S", "0"),
        ("EFT_MAX_SEQUENCES", "0"),
        ("EFT_MAX_NEW_TOKENS", "-1"),
        ("EFT_MAX_NEW_TOKENS", "100000"),  # a run this long could not be opened again
        ("EFT_THREADS", "9" * 5000),
        ("EFT_ROOT_PATH", "tools/eft"),
        ("EFT_ROOT_PATH", "/tools/eft?x"),
        ("EFT_ALLOWED_HOSTS", "https://eft.example"),
        ("EFT_ALLOWED_HOSTS", "eft.example:443"),
        ("EFT_ALLOWED_HOSTS", "eft.example, *"),
    ],
    ids=lambda text: text[:20],
)
def test_an_invalid_variable_is_named(variable: str, text: str) -> None:
    with pytest.raises(InputError, match=variable):
        Settings.from_env({variable: text})


@pytest.mark.parametrize(
    ("variable", "text", "ours"),
    [
        ("GRADIO_ROOT_PATH", "//evil", "EFT_ROOT_PATH"),
        ("GRADIO_ROOT_PATH", "tools", "EFT_ROOT_PATH"),
        ("GRADIO_SERVER_NAME", " ", "EFT_HOST"),
        ("GRADIO_SERVER_PORT", "70000", "EFT_PORT"),
        ("SPACE_ID", "nobody", "EFT_SPACE"),
        ("EFT_MAX_ROWS", "0", "EFT_MAX_SEQUENCES"),
    ],
)
def test_an_invalid_variable_is_named_as_it_was_set(variable: str, text: str, ours: str) -> None:
    with pytest.raises(InputError, match=f"^{variable} ") as refused:
        Settings.from_env({variable: text})
    assert ours not in str(refused.value)


def test_an_invalid_option_is_named_as_it_was_typed() -> None:
    with pytest.raises(InputError, match="^--port must be"):
        Settings().changed({"port": 70000}, {"port": "--port"})
    with pytest.raises(InputError, match="EFT_MAX_NEW_TOKENS=20000 with EFT_CANDIDATES=8"):
        Settings().changed({"max_new_tokens": 20000, "port": 1}, {"port": "--port"})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("EFT_NONSENSE", ""),
        ("EFT_PROT", "EFT_PORT"),
        ("EFT_MAX_SEQUENCE", "EFT_MAX_SEQUENCES"),
        ("EFT_port", "EFT_PORT"),
        ("EFT_QUANTIZATION", "EFT_QUANTISATION"),
        ("EFT_ALLOWED_HOST", "EFT_ALLOWED_HOSTS"),
        ("EFT_", ""),
    ],
)
def test_a_variable_that_names_no_setting_is_noted(name: str, meant: str) -> None:
    (note,) = notes_on_unknown({name: "secret", "EFT_PORT": "1", "OTHER": "1"})
    assert note.startswith(f"{name} is not a setting of this app and is ignored.")
    assert note.endswith(f"Did you mean {meant}?" if meant else "ignored.") and "secret" not in note


def test_variables_of_settings_are_not_noted() -> None:
    known = [f"EFT_{field.name.upper()}" for field in fields(Settings)]
    assert (
        notes_on_unknown(dict.fromkeys([*known, "EFT_MAX_ROWS", "EFT_VENV", "EFT_TORCH_INDEX", "eft_x"], "1"))
        == []
    )


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"EFT_ROOT_PATH": "/tools/eft/"}, "/tools/eft"),
        ({"EFT_ROOT_PATH": "/"}, ""),
        ({"GRADIO_ROOT_PATH": "https://example.org/tools/eft"}, "/tools/eft"),
        ({"GRADIO_ROOT_PATH": "/theirs", "EFT_ROOT_PATH": "/ours"}, "/ours"),
    ],
)
def test_the_root_path_is_a_path_without_its_last_slash(environ: dict[str, str], path: str) -> None:
    assert Settings.from_env(environ).root_path == path


def test_a_lower_maximum_lowers_the_default_length() -> None:
    assert Settings.from_env({"EFT_MAX_NEW_TOKENS": "16"}).default_new_tokens == 16
    assert Settings().default_new_tokens == 96


def test_a_numerical_error_names_the_model_and_what_to_do() -> None:
    error = NumericalError("small_base", [1])
    assert isinstance(error, EFTError) and "small_base" in str(error) and "EFT_DTYPE" in str(error)


def test_the_older_name_of_a_setting_still_works() -> None:
    assert Settings.from_env({"EFT_MAX_ROWS": "6"}).max_sequences == 6
    assert Settings.from_env({"EFT_MAX_ROWS": "6", "EFT_MAX_SEQUENCES": "9"}).max_sequences == 9
