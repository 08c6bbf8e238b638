"""The app under strain, over HTTP: crowds, readers that stall or vanish, bad requests, a long day.

The app runs in a process of its own and is looked at from outside: what it answers, and what the system says
of its process. Linux only. Users and server share one machine, so seconds are upper bounds.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from eft_demo.atlas.facts import load_facts
from eft_demo.atlas.quiz import questions
from eft_demo.errors import EFTError
from eft_demo.lab.app_start import RunningApp, serving
from eft_demo.lab.bad_requests import Post, by_hand, refusal, spoiled
from eft_demo.lab.bench import machine
from eft_demo.lab.page_client import (
    JOIN,
    STREAM,
    Heard,
    asked,
    client_at,
    heard_in,
    listen,
    post_of,
    run,
    run_event,
)
from eft_demo.settings import Settings

AT_ONCE = 8  # users of the long day
BAD_S = 20.0  # for the answer to a bad request
SETTLE_S = 30.0  # for connections and sessions to end before the process is looked at


@dataclass(frozen=True, slots=True)
class Census:
    """What the server's process holds."""

    resident_mb: float
    threads: int
    files: int
    sequences: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is tried."""

    crowd: int = 100
    witnesses: int = 5  # users whose texts must not change whatever others do
    gone: int = 100  # readers that vanish beside the witnesses
    bad: int = 1000
    runs: int = 1000
    disconnects: int = 200
    settle_s: float = SETTLE_S


def bench_soak(amounts: Amounts | None = None, note: Callable[[str], None] = print) -> dict[str, Any]:
    """All results as plain numbers under names with units. `note` gets the name of each part as it begins.

    Raises EFTError off Linux or if the app does not start.
    """
    if not Path("/proc/self/task").is_dir():
        raise EFTError("This measurement reads /proc, which only Linux has.")
    # Caches are small, so that what fills once is not taken for growth.
    with serving("atlas", EFT_PREFIX_CACHE_MB="16", EFT_MAX_KEPT_MB="4") as app:
        return {**asyncio.run(strain(app, amounts or Amounts(), note)), "machine": machine()}


async def strain(app: RunningApp, amounts: Amounts, note: Callable[[str], None]) -> dict[str, Any]:
    """Everything in turn. Each result has the name of its part in front."""
    settings = Settings.from_env()
    most = settings.max_sequences // 3 + settings.max_waiting
    parts: list[tuple[str, Callable[[], Awaitable[dict[str, Any]]]]] = [
        ("crowd", lambda: crowd(app, amounts.crowd)),
        ("overload", lambda: crowd(app, 3 * most, addresses=8)),
        ("strangers", lambda: strangers(app, amounts.witnesses, amounts.gone)),
        ("bad", lambda: bad_requests(app, amounts.bad)),
        ("day", lambda: long_day(app, amounts)),
    ]
    found: dict[str, Any] = {}
    for name, part in parts:
        note(f"{name} ...")
        found |= {f"{name}_{key}": value for key, value in (await part()).items()}
    return found


# ---- the parts


async def crowd(app: RunningApp, users: int, addresses: int = 1) -> dict[str, Any]:
    """So many users at the same moment: each is served to the end or refused with a reason."""
    heard = await _together(app.url, users, addresses)
    refused = [one for one in heard if one.refused]
    served = [one for one in heard if not one.refused]
    first = sorted(one.first_s for one in served)
    return {
        "users": users,
        "served": len(served),
        "refused": len(refused),
        "refused_last_s": max((one.whole_s for one in refused), default=0.0),
        "reasons": dict(Counter(one.refused for one in refused)),
        "unfinished": sum(reason not in ("stop", "length") for one in served for reason in one.reasons),
        "http_500": sum(one.status >= 500 and one.status != 503 for one in heard),
        "first_token_p50_s": statistics.median(first),
        "first_token_p95_s": _at(first, 0.95),
    }


async def strangers(app: RunningApp, witnesses: int, gone: int) -> dict[str, Any]:
    """Witnesses ask while others vanish in mid-stream and one reads a byte a second."""
    alone = await _witnesses(app.url, witnesses)
    began_s = time.perf_counter()
    again = await _witnesses(app.url, witnesses)
    quiet_s = time.perf_counter() - began_s
    slow = asyncio.create_task(_read_slowly(app.url))
    vanishing = asyncio.create_task(_vanish_in_turn(app.url, gone))
    began_s = time.perf_counter()
    disturbed = await _witnesses(app.url, witnesses)
    disturbed_s = time.perf_counter() - began_s
    await vanishing
    slow.cancel()
    idle_s = await _until_idle(app.url)
    return {
        "gone": gone,
        "witnesses": witnesses,
        "equal": sum(a.ids == b.ids == c.ids for a, b, c in zip(alone, again, disturbed, strict=True)),
        "refused": sum(bool(one.refused) for one in disturbed),
        "quiet_s": quiet_s,
        "disturbed_s": disturbed_s,
        "idle_after_s": idle_s,
    }


async def bad_requests(app: RunningApp, count: int) -> dict[str, Any]:
    """Bad requests one after the other; then a good one."""
    seconds: list[float] = []
    accepted, failed = 0, Counter[str]()
    async with client_at(app.url, "127.0.0.9") as client:
        client.timeout = httpx.Timeout(BAD_S)
        event = await run_event(client)
        hand = by_hand(event)
        for number, post in enumerate([*hand, *spoiled(event, count)]):
            began_s = time.perf_counter()
            try:
                reason = await _sent(client, event, post, f"bad-{number}")
            except (ValueError, httpx.HTTPError) as error:
                failed[f"{post.path}: {type(error).__name__} {error}, {post.body[:200]!r}"] += 1
                continue
            if reason is None:
                accepted += 1
                if post.wrong:
                    failed[f"accepted at {post.path}: {post.body[:200]!r}"] += 1
            else:
                seconds.append(time.perf_counter() - began_s)
        good = await run(client, event, asked("What is the capital of Kenya?", 0))
    seconds.sort()
    return {
        "by_hand": len(hand),
        "generated": count,
        "refused": len(seconds),
        "accepted": accepted,
        "failed": dict(failed),
        "refusal_p50_s": statistics.median(seconds),
        "refusal_p99_s": _at(seconds, 0.99),
        "good_one_after": int(not good.refused),
    }


async def long_day(app: RunningApp, amounts: Amounts) -> dict[str, Any]:
    """Many runs, then many that end by a disconnect; what the process holds before and after."""
    await _many_runs(app.url, max(1, amounts.runs // 2), 0)  # tables of sessions and runs fill once
    await asyncio.sleep(amounts.settle_s)
    before = await census(app)
    began_s = time.perf_counter()
    heard = await _many_runs(app.url, amounts.runs, amounts.runs)
    runs_s = time.perf_counter() - began_s
    await _vanish_in_turn(app.url, amounts.disconnects)
    await _until_idle(app.url)
    await asyncio.sleep(amounts.settle_s)
    after = await census(app)
    return {
        "runs": amounts.runs,
        "disconnects": amounts.disconnects,
        "seconds": runs_s,
        "refused": sum(bool(one.refused) for one in heard),
        "before_mb": before.resident_mb,
        "grown_mb": after.resident_mb - before.resident_mb,
        "grown_threads": after.threads - before.threads,
        "grown_files": after.files - before.files,
        "sequences": after.sequences,
        "waiting": after.waiting,
    }


async def census(app: RunningApp) -> Census:
    """What the process holds now."""
    process = Path("/proc") / str(app.pid)
    pages = int((process / "statm").read_text().split()[1])
    async with client_at(app.url) as client:
        health = (await client.get("/healthz")).json()
    return Census(
        pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        len(list((process / "task").iterdir())),
        len(list((process / "fd").iterdir())),
        health["sequences"],
        health["waiting"],
    )


# ---- users


def _prompts(count: int) -> list[str]:
    return [question.prompt for question in questions(load_facts(), count, seed=1)]


def _address(number: int) -> str:
    """An address of this machine. Addresses have limits of their own."""
    return f"127.0.0.{10 + number % 200}"


async def _together(url: str, users: int, addresses: int) -> list[Heard]:
    async def share(at: int) -> list[Heard]:
        async with client_at(url, _address(at)) as client:
            event = await run_event(client)
            mine = range(at, users, addresses)
            return await asyncio.gather(*(run(client, event, asked(prompts[n], n)) for n in mine))

    prompts = _prompts(users)
    return [one for some in await asyncio.gather(*map(share, range(addresses))) for one in some]


async def _witnesses(url: str, count: int) -> list[Heard]:
    async with client_at(url) as client:
        event = await run_event(client)
        return await asyncio.gather(
            *(run(client, event, asked(prompt, n)) for n, prompt in enumerate(_prompts(count)))
        )


async def _many_runs(url: str, count: int, first: int) -> list[Heard]:
    """AT_ONCE users who ask again and again, each run from a page of its own."""
    prompts = _prompts(5 * AT_ONCE)
    numbers = iter(range(first, first + count))

    async def user(at: int) -> list[Heard]:
        heard = []
        async with client_at(url, _address(at)) as client:
            event = await run_event(client)
            for number in numbers:
                heard.append(await run(client, event, asked(prompts[number % len(prompts)], number)))
        return heard

    return [one for some in await asyncio.gather(*map(user, range(AT_ONCE))) for one in some]


async def _vanish_in_turn(url: str, count: int) -> None:
    """So many users who vanish, AT_ONCE at a time: more would be an overload."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await _vanish(url, number)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def _vanish(url: str, number: int) -> None:
    """Start a long run, read the first piece of it, and close the connection."""
    session = f"gone-{number}-{time.monotonic_ns()}"
    async with client_at(url, _address(number)) as client:
        event = await run_event(client)
        posted = asked("Hi", number, length=256, pace=2)
        await client.post(JOIN, json=post_of(event, session, posted))
        async with client.stream("GET", STREAM + session) as stream:
            async for _ in stream.aiter_bytes():
                return


async def _read_slowly(url: str) -> None:
    """A page that takes one byte a second of its stream."""
    async with client_at(url, _address(199)) as client:
        event = await run_event(client)
        session = f"slow-{time.monotonic_ns()}"
        await client.post(JOIN, json=post_of(event, session, asked("Hi", 0, length=256)))
        where = httpx.URL(url)
        reader, writer = await asyncio.open_connection(where.host, where.port, limit=1)
        writer.write(f"GET {STREAM}{session} HTTP/1.1\r\nHost: {where.host}\r\n\r\n".encode())
        try:
            while await reader.read(1):
                await asyncio.sleep(1)
        finally:
            writer.close()


async def _sent(client: httpx.AsyncClient, event: tuple[int, int], post: Post, session: str) -> str | None:
    """The reason for which a post was refused; None if it was accepted. Raises ValueError as `refusal`."""
    body = post.body.replace(b'"unheard-of"', json.dumps(session).encode())
    answer = await client.post(post.path, content=body, headers={"content-type": post.kind})
    said = answer.text
    if post.path != JOIN or answer.status_code != 200:
        return refusal(answer.status_code, said)
    text, _ = await listen(client, session, 0.0)
    return (heard_in(text, 0.0).refused or None) if text else None  # a spoiled post may name another session


async def _until_idle(url: str, patience_s: float = 60.0) -> float:
    """Seconds until no sequence runs and no run waits. Raises TimeoutError."""
    began_s = time.perf_counter()
    async with client_at(url) as client:
        async with asyncio.timeout(patience_s):
            while True:
                health = (await client.get("/healthz")).json()
                if not health["sequences"] and not health["waiting"]:
                    break
                await asyncio.sleep(0.05)
    return time.perf_counter() - began_s


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[math.ceil(share * len(ordered)) - 1]


def to_markdown(r: Mapping[str, Any]) -> str:
    """A result of `bench_soak` as a table for docs/results.md."""
    rows = [*_crowd_rows(r, "crowd"), *_crowd_rows(r, "overload"), *_other_rows(r)]
    m = r["machine"]
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join([*lines, "", f"{m['cpus']} CPUs that users and server share, torch {m['torch']}."])


def _crowd_rows(r: Mapping[str, Any], part: str) -> list[tuple[str, str]]:
    q = {key.removeprefix(f"{part}_"): value for key, value in r.items() if key.startswith(f"{part}_")}
    first = f"{q['first_token_p50_s']:.1f} s, {q['first_token_p95_s']:.1f} s"
    return [
        (f"{q['users']} users at once: served, refused", f"{q['served']}, {q['refused']}"),
        ("the last refusal after", f"{q['refused_last_s']:.2f} s"),
        ("columns without their end, HTTP 500", f"{q['unfinished']}, {q['http_500']}"),
        ("first token, p50 and p95", first),
    ]


def _other_rows(r: Mapping[str, Any]) -> list[tuple[str, str]]:
    bad = f"{r['bad_by_hand']} bad requests by hand and {r['bad_generated']} generated"
    millis = f"{1000 * r['bad_refusal_p50_s']:.0f} ms, {1000 * r['bad_refusal_p99_s']:.0f} ms"
    wrong = sum(r["bad_failed"].values())
    gone = f"{r['strangers_gone']} users vanish, one reads a byte a second: other texts unchanged"
    return [
        (gone, f"{r['strangers_equal']} of {r['strangers_witnesses']}"),
        ("their seconds, before and then", f"{r['strangers_quiet_s']:.1f}, {r['strangers_disturbed_s']:.1f}"),
        ("all has ended after", f"{r['strangers_idle_after_s']:.1f} s"),
        (f"{bad}: refused, harmless, wrong", f"{r['bad_refused']}, {r['bad_accepted']}, {wrong}"),
        ("a refusal takes, p50 and p99", millis),
        (
            f"{r['day_runs']} runs and {r['day_disconnects']} disconnects: memory",
            f"{r['day_grown_mb']:+.0f} MB of {r['day_before_mb']:.0f}",
        ),
        ("threads, file handles", f"{r['day_grown_threads']:+d}, {r['day_grown_files']:+d}"),
        ("sequences, waiting runs", f"{r['day_sequences']}, {r['day_waiting']}"),
    ]
