"""Who calls: API keys as bearer tokens, what a key may do, and how often."""

import math
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import DEFAULT_DB_ALIAS
from django.http import HttpRequest
from django.utils.timezone import now
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from costs.caches import KEYS
from costs.models import ApiKey
from costs.models.keys import digest_of
from costs.problems import Problem
from costs.straight import give_back

if TYPE_CHECKING:
    # views.py itself imports this module, by its name in the settings.
    from rest_framework.views import APIView

# A revoked key works for at most this long after it was revoked.
CACHE_SECONDS = 1.0
CACHE_LIMIT = 10_000
LONGEST_SECRET = 200
UNKNOWN = "The API key is unknown or revoked; send Authorization: Bearer <key>."
CHALLENGE = 'Bearer realm="finops"'


class _Recent:
    """Keys by the digest of their secret, each with the moment from which it is looked up again."""

    keys: ClassVar[dict[str, tuple[float, ApiKey | None]]] = {}


def key_of(secret: str, *, using: str = DEFAULT_DB_ALIAS) -> ApiKey | None:
    """The live key of this secret; None for an unknown or revoked one."""
    digest, moment = digest_of(secret), time.monotonic()
    known = _Recent.keys.get(digest)
    if known and known[0] > moment:
        KEYS.count(hits=1)
        return known[1]
    KEYS.count(misses=1)
    found = ApiKey.objects.using(using).find(secret)
    give_back(using)
    if len(_Recent.keys) >= CACHE_LIMIT:
        _Recent.keys.clear()
    _Recent.keys[digest] = (moment + CACHE_SECONDS, found)
    return found


def fresh(secret: str) -> ApiKey | None:
    """The live key, if it was looked up within the last second; then it needs no database."""
    known = _Recent.keys.get(digest_of(secret))
    if known is None or known[0] <= time.monotonic():
        return None
    KEYS.count(hits=1)
    return known[1]


def last_known(secret: str) -> ApiKey | None:
    """The key as it was when it was last looked up, for those who must answer while the database is away."""
    known = _Recent.keys.get(digest_of(secret))
    return known[1] if known else None


def bearer_token(request: HttpRequest | Request) -> str | None:
    """What stands behind `Authorization: Bearer`; None when nothing does."""
    # WSGI hands headers over as if they were Latin-1.
    sent: str = request.META.get("HTTP_AUTHORIZATION", "")
    kind, _, token = sent.encode("iso-8859-1", "replace").partition(b" ")
    if kind.lower() != b"bearer" or not 0 < len(token) <= LONGEST_SECRET:
        return None
    return token.strip().decode(errors="replace")


def require(request: HttpRequest, scope: str) -> ApiKey:
    """The key of a request that REST framework does not see, one request of its rate limit taken. Raises Problem."""
    secret = bearer_token(request)
    key = admitted(key_of(secret) if secret else None, scope)
    check_rate(key.wait(now()))
    # For the line that is logged of this request.
    request.auth = key  # type: ignore[attr-defined]
    return key


def admitted(key: ApiKey | None, scope: str) -> ApiKey:
    """Raises Problem for nobody's key, and for one without the scope."""
    if key is None:
        raise Problem(401, UNKNOWN, headers={"WWW-Authenticate": CHALLENGE})
    if not key.allows(scope):
        raise Problem(403, f"This API key lacks the scope {scope}.")
    return key


def check_rate(waiting: timedelta | None) -> None:
    """Raises Problem for a key that must wait so long."""
    if waiting:
        seconds = math.ceil(waiting.total_seconds())
        sentence = f"Request was throttled. Expected available in {seconds} seconds."
        raise Problem(429, sentence, headers={"Retry-After": str(seconds)})


class ApiKeyAuthentication(BaseAuthentication):
    """`request.auth` is the ApiKey; there is no user."""

    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        if not get_authorization_header(request):
            return None
        token = bearer_token(request)
        key = key_of(token) if token else None
        if key is None:
            raise AuthenticationFailed(UNKNOWN)
        return None, key

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class HasScope(BasePermission):
    """The key must have the view's `required_scope`."""

    message = "This API key lacks the scope that is needed here."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if not isinstance(request.auth, ApiKey):
            return False
        scope: str = view.required_scope  # type: ignore[attr-defined]
        self.message = f"This API key lacks the scope {scope}."
        return request.auth.allows(scope)


class KeyOrStaff(BasePermission):
    """For the documentation: any key, or a person of the admin."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return isinstance(request.auth, ApiKey) or bool(request.user and request.user.is_staff)


class KeyRateLimit(BaseThrottle):
    """The key's own requests per minute."""

    _wait: float | None = None

    def allow_request(self, request: Request, view: Any) -> bool:
        if not isinstance(request.auth, ApiKey):
            return True
        waiting = request.auth.wait(now())
        self._wait = math.ceil(waiting.total_seconds()) if waiting else None
        return waiting is None

    def wait(self) -> float | None:
        return self._wait
