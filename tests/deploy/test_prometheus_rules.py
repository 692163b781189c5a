"""deploy/prometheus: scrape configuration, recording rules, alerts with a test and a runbook each."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from costs.tasks import refresh_metrics, verify_ledger
from finops_project.local.home import SOURCE
from finops_project.metrics import exposition
from tests.costs.conftest import Ledger, amount_event
from tests.costs.http import Caller
from tests.deploy import expressions
from tests.deploy.expressions import OF_PROMETHEUS, PROMETHEUS, RULE_FILES, Expression
from tests.docs.test_commands import anchors
from tests.prometheus import asked, promtool

CONFIGURATION: dict[str, Any] = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
ALERTS = expressions.alerts()
TEST_FILES = sorted((PROMETHEUS / "tests").glob("*.yml"))
# Name, what it compares with, for how long, severity, team, the specified summary.
SPECIFIED = [
    ("FinOpsCostThresholdBreach", "> 0.04", "1m", "critical", "finops", "Cost per post exceeded $0.04 threshold"),
    ("FinOpsServiceDown", "== 0", "30s", "critical", "platform", "FinOps Engine service is down"),
    ("FinOpsHighLatency", "> 1000", "2m", "warning", "finops", "FinOps Engine high latency detected"),
    (
        *("FinOpsAnomalyDetected", "> 0.8", "1m", "warning", "finops"),
        "Cost anomaly detected for {{ $labels.persona_id }}",
    ),
]


def looks_at(alert: str) -> list[dict[str, Any]]:
    """Each looks at one moment."""
    return [
        look
        for file in TEST_FILES
        for test in yaml.safe_load(file.read_text())["tests"]
        for look in test.get("alert_rule_test", [])
        if look["alertname"] == alert
    ]


class TestTheConfiguration:
    def test_prometheus_takes_it(self) -> None:
        assert "SUCCESS" in promtool("check", "config", PROMETHEUS / "prometheus.yml")

    def test_it_asks_as_often_as_specified(self) -> None:
        (job,) = CONFIGURATION["scrape_configs"]

        assert CONFIGURATION["global"]["scrape_interval"] == "15s"
        assert (job["job_name"], job["scrape_interval"], job["metrics_path"]) == ("finops-engine", "30s", "/metrics")

    def test_a_process_may_say_which_component_it_is(self) -> None:
        (job,) = CONFIGURATION["scrape_configs"]

        assert job["honor_labels"] is True

    def test_it_asks_every_component_of_compose_by_its_name(self) -> None:
        (job,) = CONFIGURATION["scrape_configs"]
        services = yaml.safe_load((SOURCE / "docker-compose.yml").read_text())["services"]

        assert asked(job) == {name: f"{name}:9090" for name in ("web", "worker", "watcher", "teller", "beat")}
        assert set(asked(job)) <= set(services)

    def test_of_what_may_be_scaled_it_finds_every_container_by_the_name_of_its_component(self) -> None:
        (job,) = CONFIGURATION["scrape_configs"]
        (found,) = job["dns_sd_configs"]
        (label,) = job["relabel_configs"]

        assert (found["names"], found["type"]) == (["worker", "watcher", "teller"], "A")
        assert (label["source_labels"], label["target_label"]) == (["__meta_dns_name"], "component")


class TestTheRules:
    def test_prometheus_takes_them(self) -> None:
        assert "SUCCESS" in promtool("check", "rules", "--lint-fatal", *RULE_FILES)

    @pytest.mark.parametrize("file", TEST_FILES, ids=lambda file: file.stem)
    def test_they_do_what_their_own_tests_say(self, file: Path) -> None:
        assert "SUCCESS" in promtool("test", "rules", file)

    @pytest.mark.parametrize("name", sorted(expressions.recorded()))
    def test_what_is_recorded_is_tested_and_used(self, name: str) -> None:
        tested = "".join(file.read_text() for file in TEST_FILES)
        used = {name for each in (*expressions.of_rules(), *expressions.of_dashboards()) for name in each.names}

        assert f"expr: {name}\n" in tested or f"{name} *" in tested or f"({name})" in tested
        assert name in used

    def test_tests_know_every_group_in_the_order_of_evaluation(self) -> None:
        groups = [group["name"] for file in RULE_FILES for group in yaml.safe_load(file.read_text())["groups"]]

        for file in TEST_FILES:
            order = yaml.safe_load(file.read_text())["group_eval_order"]
            assert sorted(order) == sorted(groups)
            assert order.index("finops-recording-service") < order.index("finops-critical")


@pytest.mark.parametrize("name", ALERTS)
class TestAnAlert:
    def test_is_seen_to_fire_and_to_be_silent(self, name: str) -> None:
        fired = [bool(look["exp_alerts"]) for look in looks_at(name)]

        assert set(fired) == {True, False}

    def test_says_what_it_means_and_where_to_read_on(self, name: str) -> None:
        notes = ALERTS[name]["annotations"]

        assert set(notes) == {"summary", "description", "runbook_url"}
        assert all(notes.values())

    def test_has_a_runbook(self, name: str) -> None:
        path, _, anchor = ALERTS[name]["annotations"]["runbook_url"].partition("#")

        assert anchor == name.lower()
        assert anchor in anchors(SOURCE / path)

    def test_goes_to_somebody_with_a_severity(self, name: str) -> None:
        labels = ALERTS[name]["labels"]

        assert set(labels) == {"severity", "team"}
        assert labels["team"] in {"finops", "platform"}
        assert labels["severity"] == group_of(name).removeprefix("finops-")


class TestTheSpecifiedAlerts:
    @pytest.mark.parametrize(
        ("name", "bound", "duration", "severity", "team", "summary"), SPECIFIED, ids=[each[0] for each in SPECIFIED]
    )
    def test_keep_their_names_and_meaning(
        self, name: str, bound: str, duration: str, severity: str, team: str, summary: str
    ) -> None:
        alert = ALERTS[name]

        assert alert["expr"].endswith(bound)
        assert alert["for"] == duration
        assert alert["labels"] == {"severity": severity, "team": team}
        assert alert["annotations"]["summary"] == summary

    def test_latency_is_that_of_all_processes_together(self) -> None:
        assert "histogram_quantile(0.95, sum by (le) (rate(" in ALERTS["FinOpsHighLatency"]["expr"]

    def test_no_gauge_is_taken_for_a_counter(self) -> None:
        asked = [each.text for each in (*expressions.of_rules(), *expressions.of_dashboards())]

        assert not [text for text in asked if "rate(cost_per_post_usd" in text or "increase(finops_spend" in text]
        assert [text for text in asked if "deriv(cost_per_post_usd" in text]


def test_every_runbook_belongs_to_an_alert() -> None:
    headings = {heading for heading in anchors(SOURCE / "docs" / "runbooks.md") if heading.startswith("finops")}

    assert headings == {name.lower() for name in ALERTS}


@pytest.mark.django_db
def test_rules_and_panels_read_metrics_that_there_are() -> None:
    there_are = names_that_there_are()
    asked = [*expressions.of_rules(), *expressions.of_dashboards()]

    assert {each.where: each.names - there_are for each in asked if not each.names <= there_are} == {}


class TestAnExpression:
    def test_names_its_metrics(self) -> None:
        given = 'sum by (le, operation) (rate(a_total{path="{x}[5m]", b=~"c|d"}[5m])) or 0 * max(e:f_g:sum) > 1.5e3'

        assert Expression("here", given).names == {"a_total", "e:f_g:sum"}

    @pytest.mark.parametrize(
        ("alert", "compared"),
        [
            ("max(a) > 0.04", "max(a)"),
            ('up{job="a"} == 0', 'up{job="a"}'),
            ("absent(a)", "a"),
            ("max(a > 3) / 2 < 1", "max(a > 3) / 2"),
        ],
    )
    def test_loses_its_comparison(self, alert: str, compared: str) -> None:
        assert expressions.compared(alert) == compared

    @pytest.mark.parametrize("alert", ["max(a)", "a > b", "a > 1 and b"])
    def test_with_none_at_its_end_is_refused(self, alert: str) -> None:
        with pytest.raises(AssertionError, match="neither"):
            expressions.compared(alert)


def group_of(alert: str) -> str:
    (found,) = {
        str(group["name"])
        for file in RULE_FILES
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
        if rule.get("alert") == alert
    }
    return found


def names_that_there_are() -> frozenset[str]:
    """What a process tells, as a name in PromQL; what is recorded; what Prometheus says itself."""
    Ledger().record([amount_event("0.01")])
    # With the first request Django loads what measures requests.
    Caller().get("/health")
    refresh_metrics()
    verify_ledger()
    told = exposition.render(with_ledger=True).decode()
    kinds = dict(line.split()[2:4] for line in told.splitlines() if line.startswith("# TYPE "))
    series = {f"{name}{ending}" for name, kind in kinds.items() for ending in ENDINGS.get(kind, ("",))}
    return frozenset(series) | expressions.recorded() | OF_PROMETHEUS


ENDINGS = {"histogram": ("_bucket", "_count", "_sum")}
