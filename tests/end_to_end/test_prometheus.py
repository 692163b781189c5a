"""A real Prometheus asks a running stack: every panel and every rule has data, and the data is the ledger's."""

import json
import math
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from controls.tasks import measure_savings
from costs.models import ApiKey, CostEvent, PriceRate, Scope
from costs.reprice import reprice_unpriced
from costs.tasks import refresh_metrics, verify_ledger
from finops_project.local.ports import LOOPBACK, free_port
from tests.controls.conftest import make_budget
from tests.controls.rows import make_control, make_hold
from tests.costs.conftest import amount_event, usage_event
from tests.deploy import expressions
from tests.deploy.expressions import Expression
from tests.end_to_end.producers import wait_until_booked
from tests.processes import beat, web, worker
from tests.prometheus import Prometheus, prometheus
from tests.servers import wait_until

DATA_SECONDS = 60
# What nobody has a price for until this test adds one, and what stays without.
UNPRICED_YET, UNPRICED = "of-our-own", "of-nobody"
CONSUMERS = {"FINOPS_ANOMALY_CHECK_INTERVAL_SECONDS": "1"}

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "decisions", "inbox"]),
    pytest.mark.slow,
    pytest.mark.timeout(240),
]


def now() -> datetime:
    return datetime.now(UTC)


class Stack:
    """Web, worker and beat, each on a metrics port of its own, and a producer that goes on."""

    def __init__(self, url: str, targets: dict[str, str]) -> None:
        self.targets = targets
        self._url, self._numbers = url, count()
        _, self._secret = ApiKey.issue(name="test", scopes=Scope.values, source="default")

    def fill(self) -> None:
        """Something of everything that panels show."""
        make_budget("10", at=now(), name="all")
        make_control("stoic", "throttle")
        make_hold("ai_jesus", "settled", actual=Decimal("0.00045"), asked_actual=Decimal("0.0075"))
        about = {"operation": "draft", "post_id": "post_1", "persona_id": "stoic"}
        self.accept(
            usage_event(**about),
            amount_event(
                "0.002", **about | {"cost_type": "kubernetes", "metadata": {"service": "api", "resource_type": "pod"}}
            ),
            amount_event("0.001", **about | {"cost_type": "vector_db", "metadata": {"collection": "hooks"}}),
            amount_event("0.003", **about),
            amount_event("0.25", **about | {"cost_type": "openai_api", "persona_id": "ai_jesus", "post_id": "post_2"}),
            *(usage_event(**about | {"model": model}) for model in (UNPRICED_YET, UNPRICED)),
        )
        follow = {"event_id": "follow", "post_id": "post_1", "persona_id": "stoic", "kind": "follow", "quantity": 4}
        self._post("/outcomes", {"outcomes": [follow]})
        wait_until_booked(30)
        self._price()
        for task in (measure_savings, refresh_metrics, verify_ledger):
            task()

    def accept(self, *events: dict[str, Any]) -> None:
        numbered = [{"event_id": f"event-{next(self._numbers)}", **event} for event in events]
        answer = self._post("/costs/events", {"events": numbered})
        assert {result["status"] for result in answer["results"]} == {"accepted"}, answer

    def go_on(self) -> None:
        """Cheap work: an event, a decision whose hold stays open for a while, a question."""
        self.accept(amount_event("0.0001", persona_id="stoic", post_id="post_1"))
        tokens = {"input_tokens": 100, "output_tokens": 50}
        call = {"persona_id": "calm", "model": "gpt-4o-mini", "estimated_tokens": tokens, "ttl_seconds": 600}
        assert self._post("/controls/decision", call)["decision"] == "allow"
        self._ask("/costs/post/post_1/summary")

    def _price(self) -> None:
        """What had no price gets one, so there is an adjustment."""
        for bucket in ("input_tokens", "output_tokens"):
            PriceRate.objects.create(
                kind="contract",
                model=UNPRICED_YET,
                bucket=bucket,
                unit_price=Decimal(1),
                per=1_000_000,
                effective_from=now() - timedelta(days=1),
            )
        reprice_unpriced(at=now())

    def _post(self, path: str, body: object) -> Any:
        return self._ask(path, json.dumps(body).encode())

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self._secret}", "Content-Type": "application/json"}
        with urlopen(Request(f"{self._url}{path}", body, headers), timeout=30) as answer:  # noqa: S310
            return json.load(answer)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack with data in it; only its web process tells what the ledger says."""
    ports = {name: free_port() for name in ("web", "worker", "beat")}

    def of(name: str) -> dict[str, str]:
        return {"FINOPS_METRICS_PORT": str(ports[name]), "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / name)} | CONSUMERS

    with ExitStack() as running:
        server = running.enter_context(web(1, **of("web")))
        consumers = [running.enter_context(each) for each in (worker(2, **of("worker")), beat(**of("beat")))]
        filled = Stack(server.url, {name: f"{LOOPBACK}:{port}" for name, port in ports.items()})
        filled.fill()
        yield filled
        for process in consumers:
            # To shut down in an orderly way takes them longer than the test.
            process.kill()


def has_data(server: Prometheus, expression: Expression) -> bool:
    """A number, and not the one that stands for none."""
    return any(not math.isnan(float(sample["value"][1])) for sample in server.query(expression.text))


def without_data(server: Prometheus, asked: list[Expression]) -> list[Expression]:
    return [expression for expression in asked if not has_data(server, expression)]


def test_every_panel_and_every_rule_has_data(stack: Stack) -> None:
    missing = [*expressions.of_rules(), *expressions.of_dashboards()]

    def all_seen(server: Prometheus) -> bool:
        stack.go_on()
        missing[:] = without_data(server, missing)
        return not missing

    with prometheus(stack.targets) as server:
        wait_until(partial(all_seen, server), DATA_SECONDS, lambda: "\n".join(map(str, missing)))

        rules, targets = server.rules(), server.targets()

    assert {target["labels"]["component"]: target["lastError"] for target in targets} == dict.fromkeys(
        stack.targets, ""
    )
    assert {rule["name"]: rule["lastError"] for rule in rules if rule.get("lastError")} == {}
    assert {rule["name"] for rule in rules} == set(expressions.alerts()) | expressions.recorded()


def test_what_prometheus_adds_up_is_what_the_ledger_holds(stack: Stack) -> None:
    charged = "sum(cost_type:finops_costs_usd:sum) + sum(max by (cost_type) (finops_cost_adjustments_usd))"
    spent = 'sum(max by (persona_id) (finops_spend_usd{period="month"}))'
    total = float(sum(line.cost_amount or 0 for line in CostEvent.objects.all()))

    def sums(server: Prometheus) -> list[float | None]:
        return [read(server, charged), read(server, spent)]

    with prometheus(stack.targets) as server:
        wait_until(
            lambda: sums(server) == pytest.approx([total, total], abs=1e-9),
            DATA_SECONDS,
            lambda: f"{total} is {sums(server)}",
        )

    assert total > 0.25


def test_an_alert_says_whom_it_is_about_and_how_much(stack: Stack) -> None:
    expected = {
        "FinOpsPostOverThreshold": "Its dearest post of 24 hours cost $0.2500.",
        "FinOpsAnomalyDetected": "Its gravest open anomaly scores 1 (medium 0.85, high 0.95, critical 1).",
        "FinOpsCostThresholdBreach": (
            "ai_jesus pays $0.2500 for a post, the mean of 24 hours. Post post_2 cost: $0.2500."
        ),
    }

    def told(server: Prometheus) -> dict[str, str]:
        return {name: text for rule in server.rules() for name, text in raised(rule, "ai_jesus") if name in expected}

    with prometheus(stack.targets) as server:
        wait_until(lambda: told(server) == expected, DATA_SECONDS, lambda: f"told {told(server)}")


def read(server: Prometheus, expression: str) -> float | None:
    found = server.query(expression)
    return float(found[0]["value"][1]) if found else None


def raised(rule: dict[str, Any], persona: str) -> list[tuple[str, str]]:
    """The name and the description of what the rule raises for the persona."""
    about = [alert for alert in rule.get("alerts", []) if alert["labels"].get("persona_id") == persona]
    return [(rule["name"], alert["annotations"]["description"]) for alert in about]
