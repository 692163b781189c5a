"""Bodies that are too much, over a real socket: they are answered with a sentence and cost no memory."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from urllib.parse import urlsplit

import psutil
import pytest

from costs.models import ApiKey, EventKey, Scope
from tests.processes import WebProcess, web

MEGABYTE = 1_000_000
pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True, databases=["default", "inbox"])]


class Sender:
    """Posts bodies to a web process with one key."""

    def __init__(self, server: WebProcess) -> None:
        self._server = server
        _, self._secret = ApiKey.issue(name="limits", scopes=[Scope.EVENTS_WRITE])

    def post(self, body: bytes | Iterator[bytes], *, chunked: bool = False) -> tuple[int, str]:
        connection = HTTPConnection(urlsplit(self._server.url).netloc, timeout=20)
        headers = {"Authorization": f"Bearer {self._secret}", "Content-Type": "application/json"}
        connection.request("POST", "/costs/events", body, headers, encode_chunked=chunked)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer.get("detail", "")

    def memory(self) -> float:
        """Megabytes of the process that answers."""
        (child,) = self._server.children()
        return float(psutil.Process(child).memory_info().rss / MEGABYTE)


@pytest.fixture
def sender() -> Iterator[Sender]:
    with web(1) as server:
        yield Sender(server)


def warm_up(sender: Sender) -> None:
    """Every thread has served a full batch of the usual size."""
    usual = {"cost_type": "cdn", "amount": 1, "metadata": {"region": "eu-central-1"}}
    for _ in range(20):
        sender.post(json.dumps({"events": [usual] * 1000}).encode())


def test_hostile_bodies_cost_no_memory(sender: Sender) -> None:
    warm_up(sender)
    before, keys = sender.memory(), EventKey.objects.count()
    hostile = {
        413: b'{"events": [' + b"1," * 3_500_000 + b"1]}",
        400: b"[" * 7_000_000,
        422: b"{" + b",".join(b'"%d":1' % number for number in range(600_000)) + b"}",
    }

    for status, body in hostile.items():
        for _ in range(8):
            assert sender.post(body)[0] == status

    assert sender.memory() - before < 50
    assert EventKey.objects.count() == keys


def test_whoever_sends_too_large_a_body_comes_to_read_why(sender: Sender) -> None:
    for _ in range(3):
        status, detail = sender.post(b'{"events": ["' + b"a" * 10 * MEGABYTE + b'"]}')

        assert status == 413
        assert "larger than the limit" in detail


def test_a_body_in_chunks_is_refused(sender: Sender) -> None:
    status, detail = sender.post(iter([b'{"cost_type": "cdn", ', b'"amount": 1}']), chunked=True)

    assert status == 411
    assert "Content-Length" in detail
