"""What an orchestrator and an operator ask: does the process live, is the service well, what are its numbers."""

import hmac
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from django.utils.timezone import now
from django.views.decorators.csrf import csrf_exempt
from psycopg_pool import PoolTimeout

from controls import postgres
from costs import broker, partitions, reports, schedule
from costs.auth import bearer_token, key_of
from costs.models import InboxRow
from costs.problems import Problem
from costs.rendering import encode
from finops_project.metrics import exposition

BROKER_SECONDS = 1
# A healthy drain empties the inbox within a second or two.
OLDEST_WAITING = timedelta(seconds=30)
OFTEN = timedelta(minutes=1)
# Reports may be a moment old.
REPLICA_LAG = timedelta(minutes=1)
# The broker has this name also where it is RabbitMQ.
DATABASE, MIGRATIONS, REDIS = "database", "migrations", "redis"
View = Callable[[HttpRequest], HttpResponse]
READING = ("GET", "HEAD")
OK, DEGRADED, DOWN = "ok", "degraded", "down"


class Unwell(Exception):
    """A part of the service is not as it should be; the message says how."""


class Down(Unwell):
    """So that nothing of the service works."""


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
    found = {check["status"] for check in checks.values()}
    status = next((worst for worst in (DOWN, DEGRADED) if worst in found), OK)
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
    """Each part with its time; those that are read from tables only where there are some to read."""
    checks: dict[str, dict[str, Any]] = {}
    replica = {"replica": _check_replica} if settings.DATABASE_REPLICA_URL else {}
    for name, check in (CHECKS | replica).items():
        if name == REDIS or _is_readable(checks):
            checks[name] = _looked(check, at)
    return checks


def _is_readable(checks: dict[str, dict[str, Any]]) -> bool:
    return all(checks[name]["status"] == OK for name in (DATABASE, MIGRATIONS) if name in checks)


def _looked(check: Callable[[datetime], None], at: datetime) -> dict[str, Any]:
    started = time.monotonic()
    found: dict[str, Any] = {"status": OK}
    try:
        check(at)
    except Down as error:
        found = {"status": DOWN, "detail": str(error)}
    except Unwell as error:
        found = {"status": DEGRADED, "detail": str(error)}
    except Error as error:
        found = {"status": DEGRADED, "detail": f"It could not be read: {error}"}
    return {**found, "seconds": round(time.monotonic() - started, 4)}


def _check_database(at: datetime) -> None:
    try:
        _ask(DEFAULT_DB_ALIAS)
    except Error as error:
        if isinstance(error.__cause__, PoolTimeout) and _answers_decisions():
            raise Unwell("PostgreSQL answers, but all connections of this process are taken") from None
        raise Down(f"PostgreSQL does not answer: {error}") from None


def _ask(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT 1")


def _answers_decisions() -> bool:
    """Whether Postgres does, on connections that no other request ever takes."""
    try:
        with postgres.connected():
            _ask(postgres.DECISIONS)
    except postgres.Busy:
        return True
    except Error:
        return False
    return True


def _check_migrations(at: datetime) -> None:
    executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        raise Down(f"{len(missing)} migrations are missing: run manage.py migrate")


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


def _check_broker(at: datetime) -> None:
    try:
        broker.queue_lengths(seconds=BROKER_SECONDS)
    except broker.Away as error:
        raise Unwell(str(error)) from None


def _check_replica(at: datetime) -> None:
    try:
        lag = reports.lag()
    except psycopg.Error as error:
        raise Unwell(f"The replica does not answer, and without it no report is given: {error}") from None
    if lag > REPLICA_LAG:
        raise Unwell(f"The replica is {schedule.span(lag)} behind, and so are reports")


CHECKS: dict[str, Callable[[datetime], None]] = {
    DATABASE: _check_database,
    MIGRATIONS: _check_migrations,
    "partitions": _check_partitions,
    "inbox": _check_inbox,
    "beat": _check_beat,
    REDIS: _check_broker,
}


def without_a_page(at: datetime) -> dict[str, str]:
    """What is wrong with each part that no page of the admin shows, as a sentence; empty for one that is well."""
    return {name: _sentence(CHECKS[name], at) for name in ("partitions", REDIS)}


def _sentence(check: Callable[[datetime], None], at: datetime) -> str:
    try:
        check(at)
    except Unwell as error:
        return str(error)
    return ""


def _may_see_details(request: HttpRequest, checks: dict[str, dict[str, Any]]) -> bool:
    """Without the database no key can be looked up, and what the checks say is for those who hold one."""
    token = bearer_token(request)
    try:
        return bool(token and _is_readable(checks) and key_of(token))
    except Error:
        return False


def _json(content: dict[str, Any], status: int = 200) -> HttpResponse:
    return HttpResponse(encode(content), status=status, content_type="application/json")
