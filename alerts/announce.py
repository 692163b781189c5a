"""Look at incidents: say what there is to say, keep the reason where nothing is said.

The groups are locked by who calls. What is said becomes delivery rows in the same transaction: the decision and its
messages exist together or not at all. All of it works in sets: a thousand groups take as many statements as one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, models

from alerts import doorbell, messages
from alerts.channels.base import Event
from alerts.decide import (
    BUDGET_OVERRUN,
    INHIBITS,
    LINGERING,
    Pace,
    Quiet,
    Reason,
    Say,
    Surroundings,
    after,
    decide,
    due_at,
)
from alerts.messages import Note, Saying
from alerts.models import Alert, AlertGroup, Silence
from alerts.models.deliveries import as_json
from alerts.signal import Severity, Status


@dataclass(frozen=True, slots=True)
class News:
    """What is new in a group: how many alerts began to fire or got worse, and one of them."""

    count: int
    fingerprint: str


def pace() -> Pace:
    repeat = settings.FINOPS_ALERT_REPEAT_SECONDS
    escalate = settings.FINOPS_ALERT_ESCALATE_SECONDS
    return Pace(timedelta(seconds=repeat), timedelta(seconds=escalate))


def look(groups: Sequence[AlertGroup], news: Mapping[int, News], *, at: datetime) -> None:
    """Decide about each of these, which must be locked, and keep what follows."""
    around, rhythm = _surroundings(groups, at), pace()
    sayings: list[Saying] = []
    notes: list[Note] = []
    for group in groups:
        incident = group.incident()
        verdict = decide(incident, around, rhythm, at)
        following = after(incident, verdict, rhythm, at)
        if isinstance(verdict, Say):
            sayings.append(Saying(group, verdict, group.told_from))
            group.sequence += 1
        notes += _notes(group, verdict, news.get(group.pk))
        group.take(following, at)
        group.due_at = due_at(following, verdict, rhythm)
    said = messages.write(sayings, at=at)
    save(groups)
    keep([*notes, *said.notes], at=at)
    doorbell.ring(said.to_ring)


def say(group: AlertGroup, event: Event, *, at: datetime) -> None:
    """Say something about a locked group that a person caused."""
    saying = Saying(group, Say(event, group.worst), group.told_from)
    group.sequence += 1
    said = messages.write([saying], at=at)
    save([group])
    keep(said.notes, at=at)
    doorbell.ring(said.to_ring)


def _surroundings(groups: Collection[AlertGroup], at: datetime) -> Surroundings:
    personas = {group.persona_id for group in groups}
    causes = models.Q(persona_id__in=personas, rule__in=INHIBITS) | models.Q(persona_id="", rule=BUDGET_OVERRUN)
    lately = models.Q(resolved_at=None) | models.Q(resolved_at__gte=at - max(LINGERING.values()))
    stored = AlertGroup.objects.filter(causes, lately, is_current=True)
    # What is decided here is newer than what is stored.
    known = {(group.persona_id, group.rule): group for group in [*stored, *groups]}
    firing = {key: group.worst for key, group in known.items() if group.resolved_at is None}
    ended = {key: group.resolved_at for key, group in known.items() if group.resolved_at is not None}
    return Surroundings(_without_narrow_budgets(firing), Silence.objects.in_force(at).mutes(), ended)


def _without_narrow_budgets(firing: dict[tuple[str, str], Severity]) -> dict[tuple[str, str], Severity]:
    """Budgets of no persona may still be of one model or type: those explain nothing of anybody."""
    everything = ("", BUDGET_OVERRUN)
    if everything not in firing:
        return firing
    wide = Alert.objects.filter(persona_id="", rule=BUDGET_OVERRUN, status=Status.FIRING)
    severities = wide.exclude(scope__has_any_keys=["model", "cost_type"]).values_list("severity", flat=True)
    worst = max((Severity(severity) for severity in severities), key=lambda severity: severity.rank, default=None)
    others = {key: severity for key, severity in firing.items() if key != everything}
    return others | ({everything: worst} if worst else {})


def _notes(group: AlertGroup, verdict: Say | Quiet, new: News | None) -> Iterable[Note]:
    fresh = new.count if new else 0
    fingerprint = new.fingerprint if new else ""
    if isinstance(verdict, Quiet):
        # That a known incident is still known is no decision, unless something new was counted into it.
        count = fresh if verdict.reason is Reason.GROUPED else max(fresh, 1)
        sentence, reason = verdict.sentence, verdict.reason
    else:
        # The message is about one of them; the others are counted.
        count, reason, sentence = fresh - 1, Reason.GROUPED, "It belongs to an incident that was said."
    if count > 0:
        yield Note(group.pk, reason, sentence, count, fingerprint)


SAVE = """
UPDATE alerts_alertgroup AS mine SET ({columns}) = ({values})
FROM jsonb_populate_recordset(NULL::alerts_alertgroup, %s::jsonb) AS new WHERE mine.id = new.id
""".format(columns=", ".join(AlertGroup.CHANGING), values=", ".join(f"new.{name}" for name in AlertGroup.CHANGING))


def save(groups: Iterable[AlertGroup]) -> None:
    """In one statement; `bulk_update` of a thousand rows builds a statement of megabytes."""
    names = ("id", *AlertGroup.CHANGING)
    rows = [{name: getattr(group, name) for name in names} for group in groups]
    with connection.cursor() as cursor:
        cursor.execute(SAVE, [as_json(rows)])


KEEP = """
INSERT INTO alerts_decision (group_id, reason, sentence, count, first_at, last_at, last_fingerprint)
SELECT group_id, reason, sentence, count, %(at)s, %(at)s, fingerprint
FROM jsonb_to_recordset(%(notes)s::jsonb)
     AS new(group_id bigint, reason text, sentence text, count int, fingerprint text)
ORDER BY group_id, reason
ON CONFLICT (group_id, reason) DO UPDATE SET
    count = alerts_decision.count + excluded.count, sentence = excluded.sentence, last_at = excluded.last_at,
    last_fingerprint = COALESCE(NULLIF(excluded.last_fingerprint, ''), alerts_decision.last_fingerprint)
"""


def keep(notes: Iterable[Note], *, at: datetime) -> None:
    """Count the decisions up, one row for each group and reason."""
    merged: dict[tuple[int, str], Note] = {}
    for note in notes:
        known = merged.get(note.key)
        merged[note.key] = note.added_to(known) if known else note
    if not merged:
        return
    rows = [
        {
            "group_id": note.group_id,
            "reason": note.reason,
            "sentence": note.sentence,
            "count": note.count,
            "fingerprint": note.fingerprint,
        }
        for note in merged.values()
    ]
    with connection.cursor() as cursor:
        cursor.execute(KEEP, {"notes": as_json(rows), "at": at})
