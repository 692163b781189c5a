"""The API as a caller sees it: a client that sends a key and reads numbers as Decimals."""

import json
from decimal import Decimal
from typing import Any

from django.test import Client

from costs.models import DEFAULT_SOURCE, ApiKey, Scope


class Caller:
    """Calls with one API key; without one, as a stranger."""

    def __init__(self, secret: str | None = None) -> None:
        self.secret = secret
        self._headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        # As for a real client, a fault of the service is an answer and not an exception.
        self._client = Client(raise_request_exception=False)

    @classmethod
    def with_key(cls, **fields: Any) -> "Caller":
        source = "bound" if fields.get("personas") else DEFAULT_SOURCE
        _, secret = ApiKey.issue(**{"name": "test", "scopes": Scope.values, "source": source} | fields)
        return cls(secret)

    def get(self, path: str, **parameters: Any) -> tuple[int, Any]:
        return self._read(self._client.get(path, parameters, headers=self._headers))

    def call(self, method: str, path: str) -> tuple[int, Any]:
        return self._read(self._client.generic(method.upper(), path, headers=self._headers))

    def post(self, path: str, body: object, content_type: str = "application/json") -> tuple[int, Any]:
        content = body if isinstance(body, bytes) else json.dumps(body, default=str).encode()
        return self._read(self._client.post(path, content, content_type=content_type, headers=self._headers))

    def _read(self, response: Any) -> tuple[int, Any]:
        self.headers = response.headers
        return response.status_code, json.loads(response.content, parse_float=Decimal) if response.content else None
