"""Read the ledger back over HTTP, as anybody with a key could, and compare it with the producer's own account."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from examples.content_pipeline.account import Account, Entry

READERS = 4
TIMEOUT_SECONDS = 30
PATIENCE_SECONDS = 60
FIRST_ERROR = 400
DIMENSIONS: dict[str, Callable[[Entry], str | None]] = {
    "persona_id": lambda entry: entry.persona_id,
    "model": lambda entry: entry.model,
    "cost_type": lambda entry: entry.cost_type,
    "operation": lambda entry: entry.operation,
    "provider": lambda entry: entry.provider,
}


class Ledger:
    """Ask with a key; one connection for each thread; numbers arrive as Decimals."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self._address = urlsplit(base_url).netloc
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._local = threading.local()
        self._opened: list[http.client.HTTPConnection] = []

    def close(self) -> None:
        """End the connections of all threads."""
        for connection in self._opened:
            connection.close()

    def get(self, path: str, **parameters: str) -> tuple[int, Any]:
        target = f"{path}?{urlencode(parameters)}" if parameters else path
        try:
            return self._fetch(target)
        except (http.client.HTTPException, ConnectionError):
            # A kept connection that the server closed meanwhile; reading twice does no harm.
            del self._local.connection
            return self._fetch(target)

    def send(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """Change something; returns the answer. Raises RuntimeError for an error."""
        status, answer = self._fetch(path, method, json.dumps(body).encode())
        if status >= FIRST_ERROR:
            raise RuntimeError(f"{method} {path} answered {status}: {str(answer)[:200]}")
        return answer

    def post(self, post_id: str) -> tuple[int, Any]:
        return self.get(f"/costs/post/{quote(post_id, safe='')}")

    def breakdown(self, group_by: str, start: datetime, end: datetime, persona_id: str) -> Any:
        status, body = self.get(
            "/costs/breakdown",
            group_by=group_by,
            start_date=start.isoformat(),
            end_date=end.isoformat(),
            persona_id=persona_id,
        )
        if status != 200:
            raise RuntimeError(f"GET /costs/breakdown answered {status}: {str(body)[:200]}")
        return body

    def _fetch(self, target: str, method: str = "GET", body: bytes | None = None) -> tuple[int, Any]:
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_SECONDS)
            self._opened.append(self._local.connection)
        headers = self._headers | ({"Content-Type": "application/json"} if body else {})
        self._local.connection.request(method, target, body, headers)
        answer = self._local.connection.getresponse()
        content = answer.read()
        try:
            return answer.status, json.loads(content, parse_float=Decimal, parse_int=Decimal)
        except ValueError:
            return answer.status, content.decode(errors="replace")


@dataclass(slots=True)
class Comparison:
    """How many totals matched of each kind, and what differs."""

    matched: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def check(self, kind: str, name: str, found: object, expected: object) -> None:
        if found == expected:
            self.matched[kind] += 1
        else:
            self.differences.append(f"{kind} {name}: the ledger says {found}, the account {expected}")


def wait_until_booked(
    ledger: Ledger, account: Account, start: datetime, end: datetime, progress: Callable[[int], None]
) -> bool:
    """Wait for the drain as long as it makes progress; False when it stands still for a minute before the end."""
    personas = sorted(account.totals(DIMENSIONS["persona_id"]))
    best, moved = -1, time.monotonic()
    while time.monotonic() - moved < PATIENCE_SECONDS:
        booked = sum(_events(ledger.breakdown("persona_id", start, end, persona)) for persona in personas)
        progress(booked)
        if booked >= len(account.entries):
            return True
        if booked > best:
            best, moved = booked, time.monotonic()
        time.sleep(0.5)
    return False


def compare(
    ledger: Ledger, account: Account, start: datetime, end: datetime, progress: Callable[[int], None]
) -> Comparison:
    """Every post, and every persona by every dimension."""
    comparison = Comparison()
    by_persona = _grouped(account, lambda entry: entry.persona_id)
    for persona, bought in sorted(by_persona.items()):
        for dimension, key in DIMENSIONS.items():
            body = ledger.breakdown(dimension, start, end, persona)
            _compare_breakdown(comparison, persona, dimension, body, bought.totals(key))
    by_post = _grouped(account, lambda entry: entry.post_id)
    with ThreadPoolExecutor(READERS) as readers:
        answers = zip(by_post, readers.map(ledger.post, by_post), strict=True)
        for number, (post_id, (status, body)) in enumerate(answers, start=1):
            _compare_post(comparison, post_id, status, body, by_post[post_id])
            progress(number)
    return comparison


def _compare_breakdown(
    comparison: Comparison, persona: str, dimension: str, body: Any, expected: dict[Any, Decimal]
) -> None:
    found = {group["key"][dimension]: Decimal(group["cost"]) for group in body["groups"]}
    for value in sorted(expected.keys() | found.keys(), key=str):
        comparison.check(dimension, f"{value} of {persona}", found.get(value), expected.get(value))
    comparison.check("sum of groups", f"{dimension} of {persona}", sum(found.values()), Decimal(body["total_cost"]))
    comparison.check("unpriced", persona, int(body["unpriced_events"]), 0)


def _compare_post(comparison: Comparison, post_id: str, status: int, body: Any, bought: Account) -> None:
    if status != 200:
        comparison.differences.append(f"post {post_id}: GET answered {status}")
        return
    found = {name: Decimal(cost) for name, cost in body["cost_breakdown"].items()}
    trail = sum((Decimal(line["cost_amount"] or 0) for line in body["audit_trail"]), Decimal(0))
    comparison.check("post", post_id, Decimal(body["total_cost"]), bought.total())
    comparison.check("post by cost_type", post_id, found, bought.totals(lambda entry: entry.cost_type))
    comparison.check("audit trail", post_id, trail, bought.total())
    comparison.check("lines", post_id, int(body["accuracy_details"]["total_events"]), len(bought.entries))


def _grouped(account: Account, key: Callable[[Entry], str]) -> dict[str, Account]:
    groups: dict[str, Account] = {}
    for entry in account.entries.values():
        groups.setdefault(key(entry), Account()).add(entry)
    return groups


def _events(body: Any) -> int:
    return sum(int(group["events"]) for group in body["groups"])
