"""deploy/grafana: dashboards that Grafana can load, with the specified titles and honest axes."""

import re
from itertools import combinations
from typing import Any

import pytest
import yaml

from costs.caches import HITS
from finops_project.local.home import SOURCE
from tests.deploy import expressions
from tests.deploy.expressions import GRAFANA, panels
from tests.prometheus import promtool

DASHBOARDS = expressions.dashboards()
SOURCE_OF_DATA: dict[str, Any] = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "finops.yml").read_text())
PROVIDERS: dict[str, Any] = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "finops.yml").read_text())
UID = "finops-prometheus"
TITLES = {
    "executive": "FinOps Executive Dashboard",
    "technical": "FinOps Technical Dashboard",
    "personas": "FinOps Personas Dashboard",
    "budgets": "FinOps Budgets Dashboard",
    "breaker": "FinOps Breaker Dashboard",
    "delivery": "FinOps Delivery Dashboard",
}
# Dashboard, panel, its type (`graph` is gone since Grafana 11), the specified expression.
SPECIFIED = [
    ("executive", "Daily Cost Trend", "timeseries", "sum(increase(openai_api_costs_usd_total[1d]))"),
    ("executive", "Cost per Post", "stat", "avg(cost_per_post_usd)"),
    ("executive", "Active Anomalies", "stat", "sum(finops_active_anomalies)"),
    (
        # Requests: a task that waits for a receiver of alerts keeps nobody waiting.
        *("technical", "Request Latency", "timeseries"),
        'histogram_quantile(0.95, sum by (le) (rate(finops_operation_latency_ms_bucket{operation!~"task:.*"}[5m])))',
    ),
    ("technical", "Database Connections", "timeseries", "finops_db_connections_active"),
    ("technical", "Memory Usage", "timeseries", 'process_resident_memory_bytes{job="finops-engine"}'),
]
# They have no series from midnight until the first cost.
SPENT = [("executive", "Spend Today"), ("executive", "Spend This Month"), ("budgets", "Spend Today")]
MONEY, MILLISECONDS = "currencyUSD", "ms"
# A slope has two sides: zero is always in sight there, and not the edge.
SIGNED = {"Cost Efficiency over Time"}
# What Grafana 8 has; nothing newer is used.
PANELS = {"timeseries", "stat", "bargauge", "table", "row"}
GRAFANA_8 = 30
COLUMNS = 24


def panel_of(dashboard: str, title: str) -> dict[str, Any]:
    (found,) = (panel for panel in DASHBOARDS[dashboard]["panels"] if panel["title"] == title)
    return dict(found)


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


class TestTheDashboards:
    def test_there_are_six_each_with_an_address_of_its_own(self) -> None:
        assert {name: board["title"] for name, board in DASHBOARDS.items()} == TITLES
        assert {name: board["uid"] for name, board in DASHBOARDS.items()} == {name: f"finops-{name}" for name in TITLES}

    @pytest.mark.parametrize(
        ("dashboard", "title", "kind", "expression"),
        SPECIFIED,
        ids=[f"{name}: {title}" for name, title, *_ in SPECIFIED],
    )
    def test_what_is_specified_is_there_first(self, dashboard: str, title: str, kind: str, expression: str) -> None:
        panel = panel_of(dashboard, title)

        assert panel["type"] == kind
        assert panel["targets"][0]["expr"] == expression

    def test_the_panel_of_latency_asks_what_its_alert_does(self) -> None:
        asked = panel_of("technical", "Request Latency")["targets"][0]["expr"]

        assert expressions.compared(expressions.alerts()["FinOpsHighLatency"]["expr"]) == asked

    @pytest.mark.parametrize(("dashboard", "title"), SPENT)
    def test_spend_of_a_day_without_any_is_zero(self, dashboard: str, title: str) -> None:
        assert panel_of(dashboard, title)["targets"][0]["expr"].endswith(" or 0 * max(finops_database_up)")

    def test_only_caches_that_there_are_are_named(self) -> None:
        said = panel_of("technical", "Cache Hit Rates")["description"]

        there_are = {sample.labels["cache"] for metric in HITS.collect() for sample in metric.samples}
        assert {word for word in there_are if re.search(rf"\b{word}\b", said)} == there_are
        assert "metrics" not in said

    def test_prometheus_understands_every_expression(self, tmp_path: Any) -> None:
        asked = [each.text for each in expressions.of_dashboards()]
        recorded = [{"record": f"panel:number:{number}", "expr": text} for number, text in enumerate(asked)]
        rules = tmp_path / "panels.yml"
        rules.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))

        assert f"{len(asked)} rules found" in promtool("check", "rules", rules)

    def test_kubernetes_gets_the_same_files(self) -> None:
        made = yaml.safe_load((GRAFANA / "kustomization.yaml").read_text())["configMapGenerator"]

        (given,) = (each["files"] for each in made if each["name"] == "finops-dashboard")
        assert set(given) == {f"dashboards/{name}.json" for name in TITLES}


@pytest.mark.parametrize("name", TITLES)
class TestADashboard:
    def test_has_panels_that_do_not_overlap_within_the_grid(self, name: str) -> None:
        places = [panel["gridPos"] for panel in DASHBOARDS[name]["panels"]]

        assert all(place["x"] + place["w"] <= COLUMNS for place in places)
        assert not [(one, other) for one, other in combinations(places, 2) if overlap(one, other)]

    def test_has_panels_with_ids_and_titles_of_their_own(self, name: str) -> None:
        every = DASHBOARDS[name]["panels"]

        assert len({panel["id"] for panel in every}) == len({panel["title"] for panel in every}) == len(every)

    def test_asks_the_one_data_source(self, name: str) -> None:
        variables = DASHBOARDS[name]["templating"]["list"]

        assert {panel["datasource"] for panel in panels(DASHBOARDS[name])} == {UID}
        assert {variable["datasource"] for variable in variables} <= {UID}

    def test_loads_in_grafana_8(self, name: str) -> None:
        board = DASHBOARDS[name]

        assert board["schemaVersion"] == GRAFANA_8
        assert {panel["type"] for panel in board["panels"]} <= PANELS

    def test_says_of_each_panel_what_it_shows_and_in_which_unit(self, name: str) -> None:
        for panel in panels(DASHBOARDS[name]):
            assert panel["description"].endswith("."), panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]

    def test_has_axes_that_begin_at_zero(self, name: str) -> None:
        for panel in panels(DASHBOARDS[name]):
            defaults = panel["fieldConfig"]["defaults"]
            if panel["title"] in SIGNED:
                assert defaults["custom"]["axisSoftMin"] == 0
            elif panel["type"] in ("timeseries", "bargauge"):
                assert defaults["min"] == 0, panel["title"]

    def test_shows_dollars_as_dollars_and_milliseconds_as_such(self, name: str) -> None:
        for panel in panels(DASHBOARDS[name]):
            asked, unit = panel["targets"][0]["expr"], panel["fieldConfig"]["defaults"]["unit"]
            is_share = ":ratio" in asked or "_breach" in asked or asked.startswith("operation:")
            if ("_usd" in asked or "dollars" in asked) and not is_share:
                assert unit == MONEY, panel["title"]
            if "latency_ms:p" in asked or "latency_ms_bucket" in asked:
                assert unit == MILLISECONDS, panel["title"]

    def test_has_an_exact_line_beside_every_estimate_of_dollars(self, name: str) -> None:
        for panel in panels(DASHBOARDS[name]):
            asked = [target["expr"] for target in panel["targets"]]
            if any("increase(" in text or "delta(" in text for text in asked):
                assert any("finops_spend_usd" in text for text in asked), panel["title"]

    def test_names_every_line_of_a_chart(self, name: str) -> None:
        for panel in panels(DASHBOARDS[name]):
            if panel["type"] in ("timeseries", "bargauge"):
                assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]


class TestProvisioning:
    def test_the_data_source_has_its_uid_as_its_name_too(self) -> None:
        (given,) = SOURCE_OF_DATA["datasources"]

        assert (given["uid"], given["name"], given["type"]) == (UID, UID, "prometheus")
        assert given["isDefault"] is True

    def test_it_is_asked_where_compose_runs_it(self) -> None:
        (given,) = SOURCE_OF_DATA["datasources"]
        services = yaml.safe_load((SOURCE / "docker-compose.yml").read_text())["services"]

        assert given["url"] == "http://prometheus:9090"
        assert "prometheus" in services

    def test_dashboards_are_read_from_where_compose_puts_them(self) -> None:
        (provider,) = PROVIDERS["providers"]
        services = yaml.safe_load((SOURCE / "docker-compose.yml").read_text())["services"]

        assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in services["grafana"]["volumes"]
        assert "./deploy/grafana/provisioning:/etc/grafana/provisioning:ro" in services["grafana"]["volumes"]
