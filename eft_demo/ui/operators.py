"""What the programs of operators read: is the server alive, can it serve a run, and its metrics.

Knows the numbers of the page's engine and Prometheus's format; counts nothing itself.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from eft_demo import __version__
from eft_demo.engine.counts import FIRST_TOKEN_S
from eft_demo.ui.page import Page


def routes(demo: Page) -> list[Route]:
    """/healthz, /readyz and /metrics."""
    return [
        Route("/healthz", partial(health, demo)),
        Route("/readyz", partial(readiness, demo)),
        Route("/metrics", metrics_route(demo)),
    ]


def state_of(demo: Page) -> str:
    """`ok`, or why nobody can be served: `down` (the engine ended, or the server is stopping) or `hangs`."""
    if not demo.service.alive or demo.live.closing:
        return "down"
    return "hangs" if demo.service.hangs else "ok"


def health(demo: Page, request: Request) -> Response:
    """200 while the process is worth keeping, else 503. Cheap."""
    return _answer(demo, state_of(demo))


def readiness(demo: Page, request: Request) -> Response:
    """200 while the models answer, else 503. Asks them for a token if they were not asked just now."""
    state = state_of(demo)
    if state == "ok" and not demo.service.probe.answers():
        state = "no answer"
    return _answer(demo, state)


def _answer(demo: Page, status: str) -> Response:
    engine = demo.service.engine
    body = {"status": status, "sequences": engine.active_sequences, "waiting": engine.waiting}
    return JSONResponse(body, status_code=200 if status == "ok" else 503)


def metrics_route(demo: Page) -> Callable[[Request], Response]:
    """The route that serves all numbers in Prometheus's text format."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(EngineNumbers(demo))

    def metrics(request: Request) -> Response:
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return metrics


class EngineNumbers(Collector):
    """The numbers of the engine that the page uses now. They start from 0 when another family is loaded."""

    def __init__(self, demo: Page) -> None:
        self._demo = demo

    def describe(self) -> list[Metric]:
        """Nothing is asked when the collector is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics, as of now."""
        service = self._demo.service
        engine, counts = service.engine, service.engine.counts
        about = GaugeMetricFamily("eft_info", "What runs here; always 1.", labels=("version", "family"))
        about.add_metric((__version__, service.family.name), 1)
        yield about
        healthy = state_of(self._demo) == "ok"
        yield GaugeMetricFamily("eft_healthy", "1 while /healthz answers 200.", value=int(healthy))
        yield GaugeMetricFamily("eft_sequences", "Sequences that run now.", value=engine.active_sequences)
        most = engine.max_sequences
        yield GaugeMetricFamily("eft_sequences_limit", "Sequences that may run at once now.", value=most)
        yield GaugeMetricFamily("eft_runs_waiting", "Runs that wait for a turn.", value=engine.waiting)
        yield CounterMetricFamily("eft_steps", "Steps of the engine that did something.", value=counts.steps)
        yield CounterMetricFamily("eft_failed_steps", "Steps that failed.", value=counts.failed_steps)
        yield CounterMetricFamily("eft_tokens", "Tokens sent to pages, of all columns.", value=counts.tokens)
        drafts = {"accepted": counts.accepted, "rejected": counts.drafted - counts.accepted}
        yield _counter("eft_drafts", "Drafted tokens of ended columns.", "outcome", drafts)
        yield _counter("eft_columns_ended", "Columns that ended.", "finish_reason", counts.ended)
        yield _counter("eft_runs_refused", "Runs refused before they began.", "code", counts.refused)
        yield _histogram(counts.first_tokens, counts.first_token_s)


def _counter(name: str, about: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, about, labels=(label,))
    for value, count in sorted(dict(values).items()):
        family.add_metric((value,), count)
    return family


def _histogram(found: list[int], sum_s: float) -> Metric:
    """From the count per bucket: Prometheus counts everything up to each bound."""
    buckets, total = [], 0
    for bound, count in zip((*map(str, FIRST_TOKEN_S), "+Inf"), found, strict=True):
        total += count
        buckets.append((bound, total))
    about = "Seconds from Run to the first token of a column, pauses left out."
    return HistogramMetricFamily("eft_first_token_seconds", about, buckets=buckets, sum_value=sum_s)
