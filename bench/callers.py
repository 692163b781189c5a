"""Producers who call at a steady rate, whatever comes back: an open loop over kept-alive HTTP connections."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count

import urllib3

from bench.workload import Fields, Workload

THREADS = 16
TIMEOUT_SECONDS = 10
BLOCK = 500
RETRIES, RETRY_SECONDS = 20, 0.5
# Of so many calls, one asks for a decision and one reads a post; each other one brings one event.
MIXED = 12


class Service:
    """The web servers that take part now, in turn: what a cluster's service is to its pods."""

    def __init__(self) -> None:
        self._urls: list[str] = []
        self._turns = count()

    def join(self, url: str) -> None:
        self._urls = [*self._urls, url]

    def leave(self, url: str) -> None:
        self._urls = [each for each in self._urls if each != url]

    def pick(self) -> str:
        urls = self._urls
        return urls[next(self._turns) % len(urls)]


@dataclass(slots=True)
class Told:
    """What the callers heard; only the thread that calls adds to it, so each has its own."""

    calls: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)

    def add(self, other: "Told") -> None:
        self.calls += other.calls
        self.failures.update(other.failures)
        self.milliseconds += other.milliseconds
        self.accepted += other.accepted

    @property
    def answered_percent(self) -> float:
        return 100 * (1 - self.failures.total() / self.calls) if self.calls else 0.0


class Callers:
    """Use as `with callers.calling(150) as told`; what they heard is complete once the block has ended."""

    def __init__(self, service: Service, key: str, workload: Workload) -> None:
        self._service, self._workload = service, workload
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        # Like every such library it looks whether a kept connection was closed before it uses it. It repeats nothing.
        self._http = urllib3.PoolManager(
            maxsize=THREADS, headers=headers, retries=urllib3.Retry(0, raise_on_status=False), timeout=TIMEOUT_SECONDS
        )

    @contextmanager
    def calling(self, rate: float, *, is_mixed: bool = False) -> Iterator[Told]:
        """Send `rate` calls a second, each counted from the moment at which it was due."""
        enough, due, turn, told = threading.Event(), self._due(rate), threading.Lock(), Told()

        def call_on() -> Told:
            mine, post_id = Told(), "unheard-of"
            while not enough.is_set():
                with turn:
                    number, moment, fields = next(due)
                if enough.wait(max(moment - time.monotonic(), 0)):
                    break
                if is_mixed and number % MIXED == 0:
                    self._ask(mine, moment, "POST", "/controls/decision", _decision(fields))
                elif is_mixed and number % MIXED == 1:
                    self._ask(mine, moment, "GET", f"/costs/post/{post_id}/summary")
                else:
                    self._bring(mine, moment, fields)
                    post_id = fields["post_id"]
            return mine

        with ThreadPoolExecutor(THREADS) as threads:
            running = [threads.submit(call_on) for _ in range(THREADS)]
            try:
                yield told
            finally:
                enough.set()
        for future in running:
            told.add(future.result())

    def _due(self, rate: float) -> Iterator[tuple[int, float, Fields]]:
        started, numbers = time.monotonic(), count()
        while True:
            for fields in self._workload.events(BLOCK, at=datetime.now(UTC)):
                number = next(numbers)
                yield number, started + number / rate, fields

    def _bring(self, told: Told, moment: float, fields: Fields) -> None:
        """An event is sent again under its id until it is taken: only the first try counts as a call."""
        told_again = told
        for _ in range(RETRIES):
            if self._ask(told_again, moment, "POST", "/costs/events", fields):
                told.accepted.append(fields["event_id"])
                return
            told_again = Told()
            time.sleep(RETRY_SECONDS)
        raise RuntimeError(f"No answer to an event in {RETRIES} tries: {told.failures}")

    def _ask(self, told: Told, moment: float, method: str, path: str, body: Fields | None = None) -> bool:
        told.calls += 1
        content = None if body is None else json.dumps(body).encode()
        try:
            answer = self._http.request(method, f"{self._service.pick()}{path}", body=content)
        except urllib3.exceptions.HTTPError as error:
            told.failures[type(error).__name__] += 1
            return False
        told.milliseconds.append((time.monotonic() - moment) * 1000)
        # An unknown post is an answer, and so is a refused call.
        if answer.status >= 500 or answer.status in (400, 401, 403, 422):
            told.failures[f"{path.split('/')[1]} {answer.status}"] += 1
            return False
        return True


def _decision(fields: Fields) -> Fields:
    estimated = {"input_tokens": fields["usage"]["input_tokens"], "output_tokens": fields["usage"]["output_tokens"]}
    return {**{name: fields[name] for name in ("persona_id", "post_id", "model", "operation")}} | {
        "estimated_tokens": estimated
    }
