"""The strict formatter of the sentences that operators may edit."""

from decimal import Decimal

import pytest

from alerts.templates import LONGEST_TEMPLATE, TEMPLATES, Kind, render, template_of, validate

VARIABLES: dict[str, Kind] = {"persona_id": "text", "cost": "number"}
VALUES: dict[str, str | Decimal] = {"persona_id": "ai_jesus", "cost": Decimal("0.0675")}


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("${persona_id}", "ai_jesus"),
        ("${cost}", "0.0675"),
        ("${cost:.3f}", "0.068"),
        ("${cost:.0f}", "0"),
        ("$${cost:.2f}", "$0.07"),
        ("$$${cost:.2f}", "$0.07"),
        ("$$", "$"),
        ("$$$$", "$$"),
        ("$$5", "$5"),
        ("{cost} {0} {} }{", "{cost} {0} {} }{"),
        ("%(cost)s %s", "%(cost)s %s"),
        ("", ""),
        ("⚠️ 100 %", "⚠️ 100 %"),
    ],
)
def test_a_template_says_its_values_and_everything_else_as_it_stands(template: str, said: str) -> None:
    validate(template, VARIABLES)

    assert render(template, VALUES) == said


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("${unknown}", "There is no"),
        ("${persona_id.__class__}", r"write \$\$"),
        ("${persona_id[0]}", r"write \$\$"),
        ("${cost!r}", r"write \$\$"),
        ("${}", r"write \$\$"),
        ("${Cost}", r"write \$\$"),
        ("${cost", r"write \$\$"),
        ("$cost", r"write \$\$"),
        ("5 $", r"write \$\$"),
        ("${persona_id:.3f}", "a text"),
        ("${cost:>1000000}", "form"),
        ("${cost:.99f}", "form"),
        ("${cost:}", "form"),
        ("${cost:${persona_id}}", r"write \$\$|form"),
        ("x" * (LONGEST_TEMPLATE + 1), "characters"),
    ],
)
def test_a_template_that_could_fail_or_reach_further_is_refused(template: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        validate(template, VARIABLES)


def test_a_value_is_never_read_as_a_template() -> None:
    assert render("${persona_id}", {"persona_id": "${cost} $$ {0}"}) == "${cost} $$ {0}"


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(LookupError):
        render("${cost}", {})


def test_small_amounts_have_no_exponent() -> None:
    assert render("${cost}", {"cost": Decimal("1E-7")}) == "0.0000001"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cost_spike", "🚨 Cost spike detected: ai_jesus - $0.067 (3.4x baseline)"),
        ("anomaly", "⚠️ Cost anomaly: learned - Severity: HIGH"),
        ("threshold", "💰 Cost threshold breach: $0.067 > $0.040"),
    ],
)
def test_the_shipped_templates_say_what_the_specification_shows(name: str, said: str) -> None:
    values: dict[str, str | Decimal] = {
        "persona_id": "ai_jesus",
        "cost": Decimal("0.067"),
        "multiplier": Decimal("3.35"),
        "anomaly_type": "learned",
        "severity": "HIGH",
        "current_value": Decimal("0.067"),
        "threshold": Decimal("0.04"),
    }
    template = TEMPLATES[name]

    validate(template.text, template.variables)

    assert render(template.text, values) == said


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("cost_spike", "cost_spike"),
        ("cost_threshold", "threshold"),
        ("budget_overrun", "anomaly"),
        ("learned", "anomaly"),
        ("what nobody knows yet", "anomaly"),
    ],
)
def test_every_rule_has_a_template(rule: str, name: str) -> None:
    assert template_of(rule) == name
