"""A user of the app over HTTP, without a browser: posts a run and reads its stream as the page does.

Knows the wire format; does not know how the server makes tokens.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx

JOIN, STREAM = "/gradio_api/queue/join", "/gradio_api/queue/data?session_hash="
BEHAVIOUR = "assistant"
LENGTH = 64
ALPHA = 1.0
SAMPLING = {"temperature": 0.7, "top_p": 0.95, "top_k": 0, "min_p": 0.0}
PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What one user got: seconds to the first token, token ids and finish reason of every column.

    `refused`: why there was no run. `whole_s`: seconds until the stream or the refusal ended.
    """

    first_s: float
    ids: tuple[tuple[int, ...], ...] = ()
    reasons: tuple[str, ...] = ()
    refused: str = ""
    status: int = 200
    whole_s: float = 0.0

    @property
    def tokens(self) -> int:
        """Of all columns."""
        return sum(map(len, self.ids))


def client_at(url: str, address: str = "127.0.0.1") -> httpx.AsyncClient:
    """A client at one of this machine's loopback addresses; the app counts each as a visitor's address."""
    limits = httpx.Limits(max_connections=None)
    transport = httpx.AsyncHTTPTransport(local_address=address, limits=limits)
    return httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, trust_env=False, transport=transport)


async def run_event(client: httpx.AsyncClient) -> tuple[int, int]:
    """The ids of the page's event and of its component, which every post names."""
    events = (await client.get("/config")).json()["dependencies"]
    (event,) = [event for event in events if event["targets"]]  # endpoints have no component
    return event["id"], event["outputs"][0]


def asked(prompt: str, seed: int, **more: object) -> dict[str, object]:
    """A run of three columns, as the page posts it."""
    run = {"n": 1, "prompt": prompt, "behaviour": BEHAVIOUR, "controls": {"alpha": ALPHA}, "pace": 0}
    return {**run, **SAMPLING, "seed": seed, "length": LENGTH, **more}


def post_of(event: tuple[int, int], session: str, posted: object) -> dict[str, object]:
    """The body that starts a run."""
    body = {"data": [], "event_data": posted, "fn_index": event[0], "trigger_id": event[1]}
    return {**body, "session_hash": session}


async def ask(url: str, prompts: Sequence[str], seeds: Sequence[int]) -> tuple[list[Heard], float]:
    """What all users heard who ask at the same moment, and the seconds until the last one had everything."""
    async with client_at(url) as client:
        event = await run_event(client)
        began_s = time.perf_counter()
        found = await asyncio.gather(
            *(run(client, event, asked(prompt, seed)) for prompt, seed in zip(prompts, seeds, strict=True))
        )
        return found, time.perf_counter() - began_s


async def run(client: httpx.AsyncClient, event: tuple[int, int], posted: object) -> Heard:
    """Start the posted run in a session of its own and read it to its end."""
    session = f"user-{time.monotonic_ns()}-{id(posted)}"
    began_s = time.perf_counter()
    answer = await client.post(JOIN, json=post_of(event, session, posted))
    if answer.status_code != 200:
        return Heard(0.0, (), (), answer.text or "nothing", answer.status_code, time.perf_counter() - began_s)
    text, first_s = await listen(client, session, began_s)
    return replace(heard_in(text, first_s), whole_s=time.perf_counter() - began_s)


async def listen(client: httpx.AsyncClient, session: str, began_s: float) -> tuple[str, float]:
    """The NDJSON of the session's run, and the seconds from `began_s` to its first token.

    Raises ValueError if the server answers with an error of its own.
    """
    first_s, text = 0.0, ""
    async with client.stream("GET", STREAM + session) as stream:
        async for line in stream.aiter_lines():
            message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if message.get("msg") == "unexpected_error" or stream.status_code >= 500:
                raise ValueError(f"HTTP {stream.status_code}: {line}")
            for piece in message.get("output", {}).get("data") or []:
                text = piece if isinstance(piece, str) else text + "".join(part[2] for part in piece)
            if not first_s and '{"k":"t"' in text:
                first_s = time.perf_counter() - began_s
            if message.get("msg") == "process_completed":
                break
    return text, first_s


def heard_in(text: str, first_s: float) -> Heard:
    """A run from its NDJSON lines."""
    lines: list[Mapping[str, Any]] = [json.loads(line) for line in text.splitlines()]
    ends = {line["p"]: line["why"] for line in lines if line["k"] == "end"}
    errors = [line["text"] for line in lines if line["k"] == "error"]
    if not ends:
        return Heard(0.0, refused=errors[0] if errors else "no answer")
    ids = [tuple(line["i"] for line in lines if line["k"] == "t" and line["p"] == p) for p in sorted(ends)]
    return Heard(first_s, tuple(ids), tuple(ends[p] for p in sorted(ends)))
