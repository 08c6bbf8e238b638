"""A call of an endpoint over plain HTTP, as an agent makes it: post, then read the stream of its answer."""

import json
from collections.abc import Iterator
from typing import Any

import httpx

CALLS = "/gradio_api/call/"


def begin(client: httpx.Client, name: str, arguments: object) -> httpx.Response:
    """Post a call with named arguments."""
    headers = {"Content-Type": "application/json"}
    return client.post(f"{CALLS}v2/{name}", content=json.dumps(arguments), headers=headers)


def events(client: httpx.Client, name: str, event: str) -> Iterator[tuple[str, Any]]:
    """The (kind, data) of every event of a call's stream."""
    with client.stream("GET", f"{CALLS}{name}/{event}") as stream:
        assert stream.status_code == 200, stream.read()
        kind = ""
        for line in stream.iter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield kind, json.loads(line.removeprefix("data: "))


def call(client: httpx.Client, name: str, /, **arguments: object) -> tuple[str, Any]:
    """The last event of a call: `complete` with the answer, or `error` with {"error", "title"}."""
    posted = begin(client, name, arguments)
    assert posted.status_code == 200, posted.text
    *_, (kind, data) = events(client, name, posted.json()["event_id"])
    return kind, data[0] if kind == "complete" else data


def answer(client: httpx.Client, name: str, /, **arguments: object) -> Any:
    """The answer of a call that succeeds."""
    kind, data = call(client, name, **arguments)
    assert kind == "complete", data
    return data
