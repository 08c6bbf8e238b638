"""Runs made by hand that say given texts."""

import math
from collections.abc import Sequence

from eft_demo.method.recipe import BASE, UPSCALED
from eft_demo.method.sampling import Sampling
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.runs.trace import ColumnTrace, RunTrace
from tests.asking import make_run
from tests.records import make_record

BY_TOKEN = {
    5: {"large_base": -0.5, "small_tuned": -0.2, "small_base": -2.0},
    6: {"large_base": -1.0, "small_tuned": -3.0, "small_base": -0.1},
    9: {"large_base": -3.0, "small_tuned": -4.5, "small_base": -4.0},
    7: {"large_base": -4.0, "small_tuned": -math.inf, "small_base": -4.0},
}


def storable(text: str) -> str:
    """The text with U+FFFD in place of lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def run_that_says(text: str, prompt: str | None = None) -> RunTrace:
    """Two columns; the token 6 is `text`, the token 9 half of a character, the token 5 ends the text."""
    piece = storable(text).encode()
    whole = storable(text) + "\ufffd"
    columns = []
    for name, recipe in (("Base", BASE), (text, UPSCALED)):
        by_token = (
            BY_TOKEN if recipe.terms else {t: {"large_base": p["large_base"]} for t, p in BY_TOKEN.items()}
        )
        records = [make_record(recipe, token, by_token, position=i) for i, token in enumerate((6, 9, 5))]
        columns.append(ColumnTrace(name, str(recipe), records, whole, "stop", text, 0.1, 30.0))
    return make_run(
        family="atlas",
        prompt=text if prompt is None else prompt,
        sampling=Sampling(seed=3),
        controls={"alpha": 1.0},
        columns=columns,
        pieces={
            "5": "",
            "6": piece.decode("utf-8", "surrogateescape"),
            "9": b"\xe2\x80".decode("utf-8", "surrogateescape"),
        },
        formats={"large_base": PromptFormat("plain", text[:900].replace("{prompt}", "") + "{prompt}")},
    )


def said(pieces: Sequence[str], prompt: str = "a prompt", names: Sequence[str] = ("Base", "Up")) -> RunTrace:
    """Two columns that say these pieces; in the second, tuning pushed each by more than a nat."""
    ids = {piece: number for number, piece in enumerate(dict.fromkeys(pieces), 1)}
    whole = "".join(pieces).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    columns = []
    for name, recipe in zip(names, (BASE, UPSCALED), strict=True):
        records = []
        for position, piece in enumerate(pieces):
            chances = {ids[piece]: {role: -4.0 if role.endswith("_base") else -0.5 for role in recipe.roles}}
            records.append(make_record(recipe, ids[piece], chances, position=position))
        columns.append(ColumnTrace(name, str(recipe), records, whole, "stop"))
    texts = {str(number): piece for piece, number in ids.items()}
    return make_run(columns, texts, family="atlas", prompt=prompt, controls={"alpha": 1.0})
