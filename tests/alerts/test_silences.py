"""What people do not want to hear is kept with its reason, and said when the silence ends."""

from datetime import datetime
from typing import Any

import pytest
from django.db import IntegrityError

from alerts.channels.base import Event
from alerts.models import AlertGroup, Silence
from alerts.signal import Severity
from tests.alerts.conftest import HOUR, MINUTE, NOON, SECOND, Desk, reasons, signal, the_group

MEDIUM, HIGH = Severity.MEDIUM, Severity.HIGH


def silence(**fields: Any) -> Silence:
    defaults = {"owner": "anna", "reason": "migration", "starts_at": NOON - HOUR, "ends_at": NOON + HOUR}
    return Silence.objects.create(**defaults | fields)


class TestSilence:
    def test_what_it_covers_is_not_said_and_the_reason_is_kept(self, desk: Desk) -> None:
        silence(persona_id="ai_jesus", rule="cost_spike")
        desk.hear(signal("a"), signal("b"))
        desk.hear(signal("c"), at=NOON + MINUTE)

        decision = the_group().decisions.get()
        assert desk.said == []
        assert (decision.reason, decision.count, decision.last_fingerprint) == ("silenced", 3, "c")
        assert decision.sentence == "Silenced by anna until 2026-11-24 13:00 UTC: migration"
        assert (decision.first_at, decision.last_at) == (NOON, NOON + MINUTE)

    @pytest.mark.parametrize(
        "fields",
        [
            {"persona_id": "zen"},
            {"rule": "no_data"},
            {"up_to": HIGH},
            {"starts_at": NOON + SECOND},
            {"ends_at": NOON},
            {"ended_at": NOON - SECOND},
        ],
    )
    def test_what_it_does_not_cover_is_said(self, desk: Desk, fields: dict[str, Any]) -> None:
        silence(**fields)

        desk.hear(signal())

        assert len(desk.said) == 3

    def test_what_still_fires_at_its_end_is_said_then(self, desk: Desk) -> None:
        silence()
        desk.hear(signal("fires", severity=MEDIUM), signal("ends", persona="zen", severity=MEDIUM))
        desk.end("ends", persona="zen", at=NOON + MINUTE)

        desk.wait(NOON, NOON + HOUR - SECOND, MINUTE)
        assert desk.said == []
        desk.work(at=NOON + HOUR)

        assert [(notice.event, notice.persona_id) for notice in desk.slack.got] == [(Event.OPENED, "ai_jesus")]
        assert reasons(group__persona_id="zen") == {"silenced": 1, "never said": 1}

    def test_ended_early_what_fires_is_said_by_the_next_sweep(self, desk: Desk) -> None:
        quiet = silence(rule="cost_spike")
        desk.hear(signal(severity=MEDIUM))

        assert quiet.end("bob", NOON + MINUTE)
        desk.work(at=NOON + MINUTE)

        assert desk.slack.events == [Event.OPENED]
        assert (quiet.ended_by, quiet.ended_at, quiet.end("eve", NOON + MINUTE)) == ("bob", NOON + MINUTE, False)

    def test_what_was_said_before_is_not_repeated_but_its_end_is_said(self, desk: Desk) -> None:
        desk.hear(signal(severity=MEDIUM))
        silence(ends_at=NOON + 5 * HOUR)

        desk.wait(NOON, NOON + 3 * HOUR, 10 * MINUTE)
        desk.end(at=NOON + 3 * HOUR)

        assert desk.slack.events == [Event.OPENED, Event.RESOLVED]
        assert reasons() == {"silenced": 1}

    def test_what_gets_worse_than_it_covers_is_heard(self, desk: Desk) -> None:
        silence(up_to=MEDIUM)
        desk.hear(signal(severity=MEDIUM))
        assert desk.said == []

        desk.hear(signal(severity=HIGH), at=NOON + MINUTE)

        assert desk.slack.events == desk.pagerduty.events == [Event.OPENED]

    def test_of_two_the_longer_one_counts(self, desk: Desk) -> None:
        silence(ends_at=NOON + MINUTE)
        silence(ends_at=NOON + 2 * MINUTE)
        desk.hear(signal())

        assert the_group().due_at == NOON + 2 * MINUTE

    def test_many_are_told_together_at_the_end(self, desk: Desk) -> None:
        silence()
        desk.hear(*[signal(f"a-{n}", persona=f"p-{n}", severity=HIGH) for n in range(250)])

        for second in range(3):
            desk.work(at=NOON + HOUR + 2 * second * SECOND)

        assert len(desk.slack.got) == 250
        assert AlertGroup.objects.filter(told_from=None).count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize(
    "fields", [{"ends_at": NOON - HOUR}, {"owner": ""}, {"reason": ""}], ids=["no length", "no owner", "no reason"]
)
def test_the_database_refuses_a_silence_without_end_owner_or_reason(fields: dict[str, datetime | str]) -> None:
    with pytest.raises(IntegrityError):
        silence(**fields)
