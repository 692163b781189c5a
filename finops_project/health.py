"""What an orchestrator and an operator ask: does the process live, is the service well, what are its numbers."""

import hmac
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

import redis
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from django.utils.timezone import now
from django.views.decorators.csrf import csrf_exempt

from costs import partitions, schedule
from costs.auth import bearer_token, key_of
from costs.models import InboxRow
from costs.problems import Problem
from costs.rendering import encode
from finops_project.metrics import exposition

REDIS_SECONDS = 1
# A healthy drain empties the inbox within a second or two.
OLDEST_WAITING = timedelta(seconds=30)
OFTEN = timedelta(minutes=1)
DATABASE, MIGRATIONS = "database", "migrations"
View = Callable[[HttpRequest], HttpResponse]
READING = ("GET", "HEAD")
OK, DEGRADED, DOWN = "ok", "degraded", "down"


class Unwell(Exception):
    """A part of the service is not as it should be; the message says how."""


def _only_read(view: View) -> View:
    """Another method is a problem of its own, not the admin's page about a missing CSRF token."""

    @csrf_exempt
    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if request.method not in READING:
            return Problem(405, "This can only be read.", headers={"Allow": ", ".join(READING)}).response()
        return view(request)

    return guarded


@_only_read
def health(request: HttpRequest) -> HttpResponse:
    """The process lives. Asks nobody."""
    return _json({"status": OK})


@_only_read
def ready(request: HttpRequest) -> HttpResponse:
    """503 only without Postgres or with missing migrations; everything else is degraded. Details need a key."""
    checks = _checked(now())
    broken = {name for name, check in checks.items() if check["status"] != OK}
    status = DOWN if broken & {DATABASE, MIGRATIONS} else DEGRADED if broken else OK
    content = {"status": status, **({"checks": checks} if _may_see_details(request, checks) else {})}
    return _json(content, status=503 if status == DOWN else 200)


@_only_read
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format, for those who know the metrics token."""
    token, expected = bearer_token(request) or "", settings.FINOPS_METRICS_TOKEN
    if not expected or not hmac.compare_digest(token.encode(), expected.encode()):
        challenge = {"WWW-Authenticate": 'Bearer realm="metrics"'}
        return Problem(401, "The metrics need the metrics token.", headers=challenge).response()
    return HttpResponse(exposition.render(with_ledger=True), content_type=exposition.CONTENT_TYPE)


def _checked(at: datetime) -> dict[str, dict[str, Any]]:
    checks: dict[str, dict[str, Any]] = {}
    for name, check in CHECKS.items():
        if name != "redis" and checks.get(DATABASE, {}).get("status") == DOWN:
            continue
        started = time.monotonic()
        try:
            check(at)
        except Unwell as error:
            found = {"status": DOWN if name in (DATABASE, MIGRATIONS) else DEGRADED, "detail": str(error)}
        else:
            found = {"status": OK}
        checks[name] = {**found, "seconds": round(time.monotonic() - started, 4)}
    return checks


def _check_database(at: datetime) -> None:
    try:
        with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        raise Unwell(f"PostgreSQL does not answer: {error}") from None


def _check_migrations(at: datetime) -> None:
    executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        raise Unwell(f"{len(missing)} migrations are missing: run manage.py migrate")


def _check_partitions(at: datetime) -> None:
    ahead = partitions.months_ahead(at)
    if ahead < 1:
        raise Unwell("The ledger has no partition for the next month: is beat running?")


def _check_inbox(at: datetime) -> None:
    oldest = InboxRow.objects.order_by("pk").first()
    if oldest and at - oldest.received_at > OLDEST_WAITING:
        raise Unwell(
            f"The oldest event waits for {(at - oldest.received_at).total_seconds():.0f} s: are workers running?"
        )


def _check_beat(at: datetime) -> None:
    """Of what runs every minute at least: the rest may be late for hours after a start."""
    often = [entry for entry in schedule.entries() if entry.period and entry.period <= OFTEN]
    if late := schedule.overdue(at, often):
        name, lateness = max(late.items(), key=lambda each: each[1])
        raise Unwell(f"{name} should have run {schedule.span(lateness)} ago: are beat and the workers running?")


def _check_redis(at: datetime) -> None:
    client = redis.Redis.from_url(
        settings.CELERY_BROKER_URL, socket_connect_timeout=REDIS_SECONDS, socket_timeout=REDIS_SECONDS
    )
    try:
        client.ping()
    except redis.RedisError as error:
        raise Unwell(f"Redis does not answer: {error}") from None
    finally:
        client.close()


CHECKS: dict[str, Callable[[datetime], None]] = {
    DATABASE: _check_database,
    MIGRATIONS: _check_migrations,
    "partitions": _check_partitions,
    "inbox": _check_inbox,
    "beat": _check_beat,
    "redis": _check_redis,
}


def _may_see_details(request: HttpRequest, checks: dict[str, dict[str, Any]]) -> bool:
    """Without the database no key can be looked up, and what the checks say is for those who hold one."""
    token = bearer_token(request)
    return bool(token and checks[DATABASE]["status"] == OK and checks[MIGRATIONS]["status"] == OK and key_of(token))


def _json(content: dict[str, Any], status: int = 200) -> HttpResponse:
    return HttpResponse(encode(content), status=status, content_type="application/json")
