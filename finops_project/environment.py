"""The one typed reader of environment variables: a bad value stops the start with a sentence."""

import os
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")
SHORTEST_SECRET = 50
# Those that can be asked how they are (costs/broker.py); Celery knows more.
BROKERS = ("redis", "rediss", "amqp", "amqps")
TRUE, FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


class Environment:
    """Read settings from a mapping of strings; an empty value counts as absent."""

    def __init__(self, values: Mapping[str, str] = os.environ) -> None:
        self._values = values

    def text(self, name: str, default: str = "") -> str:
        return self._values.get(name) or default

    def integer(self, name: str, default: int, *, least: int = 0) -> int:
        value = self._parsed(name, default, int, "a whole number")
        if value < least:
            raise ImproperlyConfigured(f"{name} must be at least {least}, not {value}.")
        return value

    def number(self, name: str, default: str) -> Decimal:
        """A finite number of at least 0."""
        value = self._parsed(name, Decimal(default), Decimal, "a decimal number")
        if not value.is_finite() or value < 0:
            raise ImproperlyConfigured(f"{name} must be a number of at least 0, not {value}.")
        return value

    def secret(self, name: str, default: str, *, required: bool) -> str:
        """A long random text; where it is required, the public default must never protect anything."""
        value = self.text(name, default)
        if required and (value == default or len(value) < SHORTEST_SECRET):
            raise ImproperlyConfigured(f"{name} must be a random text of at least {SHORTEST_SECRET} characters.")
        return value

    def switch(self, name: str, default: bool) -> bool:
        text = self.text(name).lower()
        if not text:
            return default
        if text not in TRUE | FALSE:
            raise ImproperlyConfigured(f"{name} must be true or false, not {text!r}.")
        return text in TRUE

    def choice(self, name: str, default: str, allowed: set[str]) -> str:
        value = self.text(name, default)
        if value not in allowed:
            raise ImproperlyConfigured(f"{name} must be one of {', '.join(sorted(allowed))}, not {value!r}.")
        return value

    def broker(self, name: str, default: str = "") -> str:
        url = self.text(name, default)
        if url and url.partition("://")[0] not in BROKERS:
            raise ImproperlyConfigured(f"{name} must begin with one of {', '.join(BROKERS)} and ://.")
        return url

    def words(self, name: str, default: str) -> list[str]:
        return [word.strip() for word in self.text(name, default).split(",") if word.strip()]

    def _parsed(self, name: str, default: T, parse: Callable[[str], T], kind: str) -> T:
        text = self.text(name)
        if not text:
            return default
        try:
            return parse(text)
        except (ValueError, InvalidOperation):
            raise ImproperlyConfigured(f"{name} must be {kind}, not {text!r}.") from None


def database(url: str, *, role: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Turn postgresql://user:password@host:port/name?option=value into a Django database entry."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"} or not parts.path.strip("/"):
        raise ImproperlyConfigured("DATABASE_URL must look like postgresql://user:password@host:5432/name.")
    return {
        "ENGINE": "django_prometheus.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "OPTIONS": {"application_name": f"finops_engine:{role}", **dict(parse_qsl(parts.query)), **options},
    }


def password(url: str) -> str:
    """That of an address, as it reads without its escapes; '' where it has none."""
    return unquote(urlsplit(url).password or "")
