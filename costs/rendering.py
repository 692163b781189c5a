"""JSON without floats: Decimals leave as plain numbers, digit by digit, and arrive as Decimals."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import IO, Any

import msgspec
from django.http import HttpResponse
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from costs.events import exact
from costs.pricing import plain

_decoder = msgspec.json.Decoder(float_hook=exact)


class ExactJSONRenderer(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        return b"" if data is None else encode(data)


class ExactJSONParser(BaseParser):
    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            return _decoder.decode(stream.read())
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise ParseError(f"The body is not valid JSON: {error}") from None


def encode(data: Any) -> bytes:
    """Decimals without exponent and trailing zeros (0.0234, 0.00000045), times in UTC with Z.

    Dataclasses of plain texts and numbers are taken as they are.
    """
    return msgspec.json.encode(_plain(data))


def json_response(data: Any, *, status: int = 200) -> HttpResponse:
    """For views that answer without REST framework."""
    content = encode(data)
    length = {"Content-Length": str(len(content))}
    return HttpResponse(content, status=status, content_type=ExactJSONRenderer.media_type, headers=length)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return msgspec.Raw(plain(value).encode() if value else b"0")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value
