"""Measure how fast votes of a class arrive: phones over real HTTP, the server in a process of its own.

Prints, over all rounds, how long after the phones began to vote each vote was in the presenter's tally, and
how long the phones waited for a question. With --runs, runs of three columns stream meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package is usually not installed here

from eft_demo.lab.app_start import serving  # noqa: E402
from eft_demo.lab.page_client import asked, client_at, run, run_event  # noqa: E402

OPTIONS = [{"id": str(number), "label": f"token {number}"} for number in range(4)]
PROMPT = "Tell me everything about the largest country in South America."
SETTLE_S = 0.5  # until all phones wait for the question


async def call(url: str, path: str, body: dict[str, object]) -> dict[str, Any]:
    """The JSON that the server answers to a post, over a connection of its own."""
    place, data = urlsplit(url), json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
    head += f"Connection: close\r\nContent-Length: {len(data)}\r\n\r\n"
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(head.encode() + data)
    answer = await reader.read()
    writer.close()
    said: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return said


async def measure(url: str, phones: int, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Seconds until each question was on a phone, each vote was answered, and each was in the tally."""
    room = await call(url, "/room/open", {})
    code, mine = room["code"], {"code": room["code"], "secret": room["secret"]}
    joined = await asyncio.gather(*(call(url, "/room/join", {"code": code}) for _ in range(phones)))
    keys = [{"code": code, "token": one["token"]} for one in joined]
    shown: list[float] = []
    answered: list[float] = []
    counted: list[float] = []
    for number in range(1, rounds + 1):
        before = await call(url, "/room/hear", {**keys[0], "news": -1})
        hearing = [asyncio.create_task(hear(url, key, before["news"])) for key in keys]
        await asyncio.sleep(SETTLE_S)
        poll = {"id": str(number), "kind": "token", "title": "Which token is next?", "options": OPTIONS}
        since = time.perf_counter()
        await call(url, "/room/show", {**mine, "poll": poll, "link": ""})
        shown += [at - since for at in await asyncio.gather(*hearing)]
        since = time.perf_counter()
        tally = asyncio.create_task(follow(url, mine, phones))
        votes = (vote(url, key, number, OPTIONS[k % 4]["id"]) for k, key in enumerate(keys))
        answered += [at - since for at in await asyncio.gather(*votes)]
        counted += [at - since for at in await tally]
        last = await call(url, "/room/tally", {**mine, "counted": -1})
        assert last["voted"] == sum(last["counts"].values()) == phones, last
    await call(url, "/room/end", mine)
    return shown, answered, counted


async def hear(url: str, key: dict[str, object], news: int) -> float:
    """When the phone had its next news."""
    while (await call(url, "/room/hear", {**key, "news": news}))["news"] == news:
        pass
    return time.perf_counter()


async def vote(url: str, key: dict[str, object], number: int, option: str) -> float:
    """When the vote was answered."""
    said = await call(url, "/room/vote", {**key, "poll": number, "option": option})
    assert said["mine"] == option, said
    return time.perf_counter()


async def follow(url: str, mine: dict[str, object], phones: int) -> list[float]:
    """When the presenter's page had the first vote, the second ... of all."""
    times: list[float] = []
    counted = -1
    while len(times) < phones:
        said = await call(url, "/room/tally", {**mine, "counted": counted})
        counted = said["counted"]
        times += [time.perf_counter()] * (said["voted"] - len(times))
    return times


async def run_on(url: str) -> None:
    """Stream one run after the other, as a page does, until cancelled."""
    async with client_at(url) as client:
        event = await run_event(client)
        while True:
            heard = await run(client, event, asked(PROMPT, 0, top_p=1, length=200))
            assert not heard.refused, heard.refused


def report(name: str, seconds: list[float]) -> None:
    """Print median, 95th percentile and maximum, in milliseconds."""
    ordered = sorted(seconds)
    figures = (statistics.median(ordered), ordered[int(0.95 * len(ordered))], ordered[-1])
    middle, late, last = (f"{1000 * figure:.0f} ms" for figure in figures)
    print(f"{name:<34} median {middle:>8}   p95 {late:>8}   max {last:>8}   ({len(ordered)})")


async def main(arguments: argparse.Namespace) -> None:
    """Measure, with or without runs beside."""
    with serving("atlas" if arguments.runs else "none") as app:
        url = app.url
        busy = [asyncio.create_task(run_on(url)) for _ in range(arguments.runs)]
        shown, answered, counted = await measure(url, arguments.phones, arguments.rounds)
        for task in busy:
            assert not task.done(), task.exception()
            task.cancel()
    report("question on the phone", shown)
    report("vote answered", answered)
    report("vote in the presenter's tally", counted)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phones", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=0, help="runs that stream meanwhile")
    asyncio.run(main(parser.parse_args()))
