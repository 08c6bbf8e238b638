"""A stand-in for Hugging Face's `spaces` with ZeroGPU: runs the decorated generator in a forked process.

As in the real package, arguments and yielded values are pickled through queues, the process is forked at the
first call and kept for the next, coroutines are rejected, and closing the generator stops the other side only
after its next yield. Unlike there, no device is involved.
"""

import inspect
import multiprocessing
import pickle
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

FORK = multiprocessing.get_context("fork")
Task = Callable[..., Generator[Any, None, None]]


class QuotaError(Exception):
    """An error with its text in `message`, like Gradio's errors."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)

    def __str__(self) -> str:
        return repr(self.message)


@dataclass
class FakeSpaces:
    """The module `spaces`. `durations` lists the requested seconds; `refusal` makes the next call fail."""

    tasks: list[Task] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)
    refusal: str = ""
    workers: list[Any] = field(default_factory=list)

    def GPU(self, *, duration: Callable[..., float]) -> Callable[..., Any]:  # noqa: N802 (the real name)
        def decorate(task: Task) -> Callable[..., Iterator[Any]]:
            assert inspect.isgeneratorfunction(task) and not inspect.iscoroutinefunction(task)
            self.tasks.append(task)

            @wraps(task)
            def call(*args: object) -> Iterator[Any]:
                self.durations.append(duration(*args))
                if self.refusal:
                    raise QuotaError(self.refusal)
                yield from self._call(task, args)

            return call

        return decorate

    def _call(self, task: Task, args: tuple[object, ...]) -> Iterator[Any]:
        asks, answers, stop = worker = self.workers.pop() if self.workers else self._fork(task)
        asks.put(pickle.dumps(args))
        ended = False
        try:
            while True:
                kind, value = pickle.loads(answers.get(timeout=60))
                ended = kind != "yield"
                if kind == "error":
                    raise RuntimeError(value)
                if ended:
                    return
                yield value
        finally:
            stop.set()
            while not ended:
                ended = pickle.loads(answers.get(timeout=60))[0] != "yield"
            self.workers.append(worker)

    def end(self) -> None:
        """End the processes that are waiting for a call."""
        for worker in self.workers:
            worker[0].put(pickle.dumps(None))
        self.workers.clear()

    def _fork(self, task: Task) -> tuple[Any, Any, Any]:
        asks, answers, stop = FORK.SimpleQueue(), FORK.Queue(), FORK.Event()
        FORK.Process(target=_work, args=(task, asks, answers, stop), daemon=True).start()
        return asks, answers, stop


def _work(task: Task, asks: Any, answers: Any, stop: Any) -> None:
    while (args := pickle.loads(asks.get())) is not None:
        stop.clear()
        generator = task(*args)
        try:
            for value in generator:
                if stop.is_set():
                    generator.close()
                    break
                answers.put(pickle.dumps(("yield", value)))
        except Exception as error:
            answers.put(pickle.dumps(("error", type(error).__name__)))
        else:
            answers.put(pickle.dumps(("end", None)))
