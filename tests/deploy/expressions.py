"""Every expression that deploy/prometheus and deploy/grafana ask Prometheus for, and the names in it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from finops_project.local.home import SOURCE

PROMETHEUS = SOURCE / "deploy" / "prometheus"
GRAFANA = SOURCE / "deploy" / "grafana"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
DASHBOARD_FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
# A person who chooses nothing has chosen everything.
CHOSEN = ".*"
VARIABLE = re.compile(r"\$(?:__)?\w+")
COMPARISON = re.compile(r"(?P<compared>.+) (?:==|!=|<=|>=|<|>) [\d.]+", re.DOTALL)
ABSENT = re.compile(r"absent\((?P<compared>.+)\)", re.DOTALL)
WORDS = frozenset("by without on ignoring group_left group_right bool offset and or unless Inf NaN".split())
# Made by Prometheus itself.
OF_PROMETHEUS = frozenset({"up", "ALERTS"})
# What is taken out of an expression, one after the other, until only names are left.
NOT_NAMES = (
    re.compile(r'"[^"]*"'),
    re.compile(r"\{[^}]*\}"),  # labels
    re.compile(r"\[[^\]]*\]"),  # a window of time
    re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"),
    re.compile(r"\b\w+\s*(?=\()"),  # a function
)
NAME = re.compile(
    r'"[^"]*"'  # text
    r"|\{[^}]*\}"  # labels and what they match
    r"|\[[^\]]*\]"  # a window of time
    r"|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"
    r"|\b\w+\s*(?=\()"  # a function
)
NAME = re.compile(r"(?<![\w.:])[A-Za-z_:][\w:]*")


@dataclass(frozen=True, slots=True)
class Expression:
    """`where` names the panel or the rule."""

    where: str
    text: str

    @property
    def names(self) -> frozenset[str]:
        """Of the metrics in it."""
        left = self.text
        for taken in NOT_NAMES:
            left = taken.sub("", left)
        return frozenset(NAME.findall(left)) - WORDS


def rules() -> list[dict[str, Any]]:
    return [
        rule for file in RULE_FILES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]
    ]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> frozenset[str]:
    """The names under which Prometheus keeps what rules come to."""
    return frozenset(rule["record"] for rule in rules() if "record" in rule)


def of_rules() -> list[Expression]:
    """What alerts compare, and what is recorded."""
    return [
        Expression(f"alert {rule['alert']}", compared(rule["expr"]))
        if "alert" in rule
        else Expression(f"record {rule['record']} {rule.get('labels', '')}", rule["expr"])
        for rule in rules()
    ]


def compared(alert: str) -> str:
    """The expression of an alert without its comparison: what must have data while nothing is wrong."""
    found = ABSENT.fullmatch(alert) or COMPARISON.fullmatch(alert)
    assert found, f"neither one comparison at the end nor an absent(): {alert}"
    return found["compared"]


def dashboards() -> dict[str, dict[str, Any]]:
    return {file.stem: json.loads(file.read_text()) for file in DASHBOARD_FILES}


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Those that show something: rows do not."""
    return (panel for panel in dashboard["panels"] if panel["type"] != "row")


def of_dashboards() -> list[Expression]:
    """With everything chosen in the variables."""
    return [
        Expression(f"{name}: {panel['title']} {target['refId']}", VARIABLE.sub(CHOSEN, target["expr"]))
        for name, dashboard in dashboards().items()
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]
