"""What Prometheus reads: it equals the ledger, is bounded, and is the same from every process."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
from celery import current_app
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.urls.converters import IntConverter
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from controls.models import Control
from costs import metric_gauges, outcomes
from costs.events import encode
from costs.models import ApiKey, InboxRow, MetricGauge, MetricNote, Scope
from costs.tasks import refresh_metrics, verify_ledger
from finops_project.local.ports import LOOPBACK, free_port
from finops_project.metrics import exposition, operations
from tests.anomalies.incidents import spike_of
from tests.controls.conftest import make_budget
from tests.costs.conftest import Ledger, amount_event, usage_event
from tests.costs.http import Caller
from tests.processes import beat, web, worker
from tests.servers import wait_until

Labels = tuple[tuple[str, str], ...]
HOUR = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


class Scrape:
    """A text of metrics, taken apart."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples: dict[str, dict[Labels, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value

    def of(self, name: str, **labels: str) -> float | None:
        return self._samples.get(name, {}).get(tuple(sorted(labels.items())))

    def all(self, name: str) -> dict[Labels, float]:
        return self._samples.get(name, {})

    @property
    def series(self) -> int:
        return sum(map(len, self._samples.values()))


def scrape() -> Scrape:
    return Scrape(exposition.render(with_ledger=True).decode())


def read_anew() -> Scrape:
    MetricGauge.objects.all().delete()
    refresh_metrics()
    return scrape()


@pytest.fixture
def ledger(db: None) -> Ledger:
    return Ledger()


@pytest.mark.django_db
class TestTheLedger:
    def test_money_is_told_under_the_specified_names(self, ledger: Ledger) -> None:
        ledger.record(
            [
                usage_event(persona_id="p", operation="draft"),
                amount_event("0.5", cost_type="kubernetes", metadata={"service": "s", "resource_type": "pod"}),
                amount_event("0.25", cost_type="vector_db", persona_id="p", metadata={"collection": "c"}),
                amount_event("2", persona_id="p"),
            ]
        )

        found = scrape()

        assert found.of("openai_api_costs_usd_total", model="gpt-4o", persona_id="p", operation="draft") == 0.0075
        assert found.of("kubernetes_resource_costs_usd_total", service="s", resource_type="pod", operation="") == 0.5
        assert found.of("vector_db_operation_costs_usd_total", collection="c", persona_id="p", operation="") == 0.25
        assert found.of("finops_generic_costs_usd_total", cost_type="cdn", persona_id="p") == 2
        assert found.of("finops_cost_events_total", cost_type="cdn") == 1

    def test_the_cost_of_a_post_is_the_mean_of_those_touched_within_a_day(self, ledger: Ledger) -> None:
        for post, amount in (("a", "0.01"), ("b", "0.02"), ("b", "0.04"), ("c", "9")):
            event = amount_event(amount, persona_id="p", post_id=post)
            ledger.record([event if post != "c" else {**event, "timestamp": (now() - 26 * HOUR).isoformat()}])

        found = read_anew()

        assert found.of("cost_per_post_usd", persona_id="p") == 0.035
        assert found.of("cost_per_post_threshold_breach", persona_id="p", severity="critical") == 0
        assert found.all("finops_post_over_threshold_usd") == {(("persona_id", "p"), ("post_id", "b")): 0.06}

    def test_a_mean_above_the_threshold_is_a_breach(self, ledger: Ledger) -> None:
        ledger.record([amount_event("0.0400001", persona_id="p", post_id="a")])

        assert read_anew().of("cost_per_post_threshold_breach", persona_id="p", severity="critical") == 1

    def test_only_the_dearest_posts_are_named(self, ledger: Ledger) -> None:
        ledger.record([amount_event(str(1 + n), persona_id="p", post_id=f"post-{n}") for n in range(30)])

        found = read_anew().all("finops_post_over_threshold_usd")

        assert sorted(found.values()) == [float(1 + n) for n in range(10, 30)]

    def test_what_a_follow_cost(self, ledger: Ledger) -> None:
        ledger.record([amount_event("0.5", persona_id="p")])
        follow = {"persona_id": "p", "post_id": "a", "kind": "follow", "quantity": 25}
        outcomes.accept([encode(follow)], source="test", at=now(), using="default")

        assert read_anew().of("cost_per_follow_dollars", persona_id="p") == 0.02

    def test_spending_is_told_by_day_and_month(self, ledger: Ledger) -> None:
        ledger.record([amount_event("0.5", persona_id="p")])

        found = read_anew()

        assert found.of("finops_spend_usd", persona_id="p", period="day") == 0.5
        assert found.of("finops_spend_usd", persona_id="p", period="month") == 0.5

    def test_figures_rest_twenty_times_as_long_as_they_took_to_read(self, ledger: Ledger) -> None:
        at = now()
        metric_gauges.store(metric_gauges.TAKEN, [((), Decimal("0.5"))], at)

        assert not metric_gauges.refresh(at + timedelta(seconds=9.9))
        assert metric_gauges.refresh(at + timedelta(seconds=10))

    def test_what_is_wrong_is_told(self, ledger: Ledger) -> None:
        ledger.record([amount_event("0.5", persona_id="ai_jesus"), usage_event(model="nobody-knows-it")])
        spike_of("ai_jesus")
        ledger.accept([amount_event("1")])
        InboxRow.objects.update(received_at=now() - HOUR)

        found = scrape()

        anomalies = {labels: count for labels, count in found.all("finops_active_anomalies").items() if count}
        assert [dict(labels)["persona_id"] for labels in anomalies] == ["ai_jesus"]
        assert found.of("finops_cost_anomaly_score", persona_id="ai_jesus") == 1
        assert found.of("finops_unpriced_events") == 1
        assert found.of("finops_inbox_events") == 1
        assert 3_600 <= (found.of("finops_inbox_oldest_seconds") or 0) < 3_660
        assert found.of("finops_dead_letters") == 0

    def test_whose_persona_has_no_label_is_other(self, ledger: Ledger) -> None:
        spike_of("ai_jesus")

        assert scrape().of("finops_cost_anomaly_score", persona_id="other") == 1

    def test_the_controls_are_told(self, ledger: Ledger) -> None:
        ledger.record([amount_event("0.5", persona_id="p")])
        budget = make_budget("10", at=now(), name="p's", persona_id="p")
        Control.objects.create(persona_id="p", level="pause", since=now(), expires_at=now() + HOUR)

        found = scrape()

        assert found.of("finops_breaker_level", persona_id="p", level="pause") == 1
        assert found.of("finops_budget_limit_usd", budget=f"{budget.pk} p's", persona_id="p") == 10
        assert found.of("finops_budget_spent_usd", budget=f"{budget.pk} p's", persona_id="p") == 0.5
        assert found.of("finops_holds_open") == 0

    def test_a_verified_ledger_says_how_much_it_differs_and_since_when_that_is_known(self, ledger: Ledger) -> None:
        assert scrape().of("finops_ledger_drift_keys") == 0 or not scrape().all("finops_ledger_drift_keys")
        ledger.record([amount_event("0.5", persona_id="p")])

        verify_ledger()

        found = scrape()
        assert found.of("finops_ledger_drift_keys") == 0
        assert (found.of("finops_ledger_verified_age_seconds") or 0) < 60

    def test_without_the_broker_it_says_so(self, settings: Settings) -> None:
        settings.CELERY_BROKER_URL = f"redis://{LOOPBACK}:{free_port()}/0"

        found = scrape()

        assert found.of("finops_redis_up") == 0
        assert found.of("finops_database_up") == 1


class TestOperations:
    @pytest.mark.django_db
    def test_a_request_is_measured_under_the_name_of_its_route(self) -> None:
        before = scrape().of("finops_operation_latency_ms_count", operation="post") or 0

        Caller.with_key().get("/costs/post/nobody-knows")

        assert scrape().of("finops_operation_latency_ms_count", operation="post") == before + 1

    @pytest.mark.django_db
    def test_what_nobody_routes_is_unknown_and_neither_health_nor_files_are_measured(self) -> None:
        caller = Caller.with_key()
        before = scrape()

        caller.get("/no/such/path")
        caller.get("/health")
        Client().get("/static/no/such/file.css")

        after = scrape()
        names = {dict(labels)["operation"] for labels in after.all("finops_operation_latency_ms_count")}
        known = before.of("finops_operation_latency_ms_count", operation="unknown") or 0
        assert after.of("finops_operation_latency_ms_count", operation="unknown") == known + 1
        assert not names & {"health", "/health", "/no/such/path"}

    def test_a_failure_is_counted(self) -> None:
        before = operations.ERRORS.labels("tested")._value.get()

        operations.observe("tested", 0.002, is_error=True)

        assert operations.ERRORS.labels("tested")._value.get() == before + 1

    def test_a_second_is_a_bucket(self) -> None:
        assert 1_000 in operations.BUCKETS_MS
        assert operations.BUCKETS_MS[-1] == 10_000


def routes() -> Iterator[str]:
    """A path of each route of the API."""
    for part in get_resolver().url_patterns:
        if isinstance(part, URLResolver) and not part.app_name:
            for route in part.url_patterns:
                assert isinstance(route, URLPattern)
                kinds = route.pattern.converters.items()
                names = {name: 1 if isinstance(kind, IntConverter) else str(uuid4()) for name, kind in kinds}
                yield reverse(route.name, kwargs=names)


@pytest.fixture
def nothing_counted() -> None:
    """Other tests of this process count under names of their own."""
    for name, collector in REGISTRY._names_to_collectors.items():
        if name.startswith(("finops_operation_", "django_")) and getattr(collector, "_labelnames", None):
            collector.clear()  # type: ignore[attr-defined]


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing_counted")
def test_there_are_fewer_than_two_thousand_series_when_everything_is_used(ledger: Ledger) -> None:
    caller = Caller.with_key()
    for path in routes():
        caller.get(path)
    current_app.loader.import_default_modules()
    for task in current_app.tasks:
        if ".tasks." in task:
            operations.observe(f"task:{task}", 0.01)
    personas, models = range(50), [f"gpt-{n}" for n in range(12)]
    ledger.record([usage_event(persona_id=f"p{p}", post_id=f"post-{p}", operation="draft") for p in personas])
    ledger.record(
        [amount_event("0.1", persona_id=f"p{p}", cost_type=kind) for p in personas for kind in ("a", "b", "c")]
    )
    labels = [(model, f"p{p}", f"o{o}") for model in models for p in personas for o in range(10)]
    MetricNote.objects.create(moves=[["openai_api_costs_usd_total", each, "1.5"] for each in labels])

    assert 1_500 < read_anew().series < 2_000


def get(port: int, path: str = "/metrics", method: str = "GET") -> str:
    with urlopen(Request(f"http://{LOOPBACK}:{port}{path}", method=method), timeout=10) as response:
        return str(response.read().decode())


@pytest.mark.slow
@pytest.mark.django_db(transaction=True, databases=["default", "decisions", "inbox"])
class TestTheMetricsPort:
    @pytest.fixture
    def shared(self, tmp_path: Path) -> dict[str, str]:
        return {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"), "FINOPS_METRICS_PORT": str(free_port())}

    def test_one_port_tells_of_all_processes_of_the_machine(self, shared: dict[str, str]) -> None:
        port = int(shared["FINOPS_METRICS_PORT"])
        silent = shared | {"FINOPS_METRICS_PORT": "0"}
        with web(2, **shared) as server, worker(2, **silent) as drainer, beat(**silent):
            _, secret = ApiKey.issue(name="test", scopes=[Scope.EVENTS_WRITE])
            for number in range(20):
                post(server.url, secret, f"e{number}")
            wait_until(lambda: booked(port) == 20, 20, lambda: get(port))
            found = Scrape(get(port))

            components = [dict(labels)["component"] for labels in found.all("process_resident_memory_bytes")]
            asked = [Scrape(get(port)).of("finops_generic_costs_usd_total", **CDN) for _ in range(10)]
            victim = drainer.kill_child()
            wait_until(lambda: f'pid="{victim}"' not in get(port), 10, lambda: get(port))

        assert components.count("web") == 2
        assert components.count("beat") == 1
        assert len(components) == 2 + 3 + 1, "the worker and its children"
        assert set(asked) == {20.0}
        assert found.of("finops_operation_latency_ms_count", operation="events") == 20
        assert (found.of("finops_operation_latency_ms_count", operation="task:costs.track_cost") or 0) > 0
        assert (found.of("finops_cache_hits_total", cache="key") or 0) > 0
        assert found.series < 2_000

    def test_it_shows_nothing_else(self, shared: dict[str, str]) -> None:
        port = int(shared["FINOPS_METRICS_PORT"])
        with web(1, **shared):
            wait_until(lambda: bool(get(port)), 10, str)
            with pytest.raises(HTTPError, match="404"):
                get(port, "/admin/")
            with pytest.raises(HTTPError, match="405"):
                get(port, method="POST")

    def test_who_is_not_to_tell_of_the_ledger_does_not(self, shared: dict[str, str]) -> None:
        with web(1, **shared, FINOPS_METRICS_LEDGER="false"):
            text = get(int(shared["FINOPS_METRICS_PORT"]))

        assert "process_resident_memory_bytes" in text
        assert not re.search("^(openai_api|finops_inbox)", text, re.MULTILINE)


CDN = {"cost_type": "cdn", "persona_id": "p"}


def booked(port: int) -> float | None:
    return Scrape(get(port)).of("finops_cost_events_total", cost_type="cdn")


def post(url: str, secret: str, event_id: str) -> None:
    body = f'{{"event_id": "{event_id}", "cost_type": "cdn", "amount": 1, "persona_id": "p"}}'.encode()
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    with urlopen(Request(f"{url}/costs/events", body, headers), timeout=10) as response:  # noqa: S310
        assert response.status in (200, 202)
