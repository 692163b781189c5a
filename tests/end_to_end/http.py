"""Somebody who speaks HTTP with a real web server over one connection."""

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from tests.processes import WebProcess

ANSWER_SECONDS = 20


class Producer:
    """With an API key; `ask` answers status and body."""

    def __init__(self, server: WebProcess, secret: str) -> None:
        address = urlsplit(server.url)
        self._connection = HTTPConnection(str(address.hostname), address.port, timeout=ANSWER_SECONDS)
        self._headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        self._connection.request(method, path, json.dumps(body) if body else None, self._headers)
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())

    def close(self) -> None:
        self._connection.close()
