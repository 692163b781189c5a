"""The door of alerts: `fire` hears signals and decides what is said, in the transaction of whoever found them.

The groups of all signals, and those that these may mute or unmute, are locked first, by one statement and in the order
of their keys: two calls never wait for each other in a circle, and whoever comes second sees what the first decided.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, models, transaction

from alerts import acknowledge, announce
from alerts.announce import News
from alerts.decide import BUDGET_OVERRUN, neighbours
from alerts.models import Alert, AlertGroup
from alerts.models.deliveries import as_json
from alerts.signal import Severity, Signal, Status

Key = tuple[str, str]
# Rules whose incidents of one persona (or of none) are about different things.
SEVERAL_SUBJECTS = frozenset({"budget_overrun", "burn_rate", "forecast", "unpriced", "dead_letters"})


@dataclass(frozen=True, slots=True)
class Heard:
    """A signal with texts that the database takes, and the moment when it was made."""

    fingerprint: str
    rule: str
    persona_id: str
    scope: dict[str, Any]
    severity: Severity
    status: Status
    title: str
    fact_pairs: list[tuple[str, Any]]
    url: str
    at: datetime

    @property
    def key(self) -> Key:
        return self.persona_id, self.rule


def fire(*signals: Signal, at: datetime) -> None:
    """Hear these; of one fingerprint the last counts. Messages leave once the transaction is committed."""
    heard = {signal.fingerprint: signal for signal in (_clean(signal, at) for signal in signals)}
    if not heard:
        return
    with transaction.atomic():
        groups = {(group.persona_id, group.rule): group for group in _lock(list(heard.values()), at)}
        known = {alert.fingerprint: alert for alert in Alert.objects.filter(fingerprint__in=heard)}
        current = [signal for signal in heard.values() if _is_current(signal, known)]
        _begin_anew([signal for signal in current if signal.status is Status.FIRING], groups, at)
        _keep(current, groups)
        news = _news(current, known, groups)
        _end_acknowledgements(groups.values(), news)
        was_open = {key for key, group in groups.items() if group.is_open}
        _count(groups.values(), at)
        announce.look([group for key, group in groups.items() if group.is_open or key in was_open], news, at=at)
        _acknowledge(current, known, at)


def _clean(signal: Signal, at: datetime) -> Heard:
    return Heard(
        fingerprint=_text(signal.fingerprint),
        rule=_text(signal.rule),
        persona_id=_text(signal.persona_id),
        scope=_plain(signal.scope),
        severity=signal.severity,
        status=signal.status,
        title=_text(signal.title),
        fact_pairs=list(_plain(signal.facts).items()),
        url=_text(signal.url),
        at=signal.at or at,
    )


def _text(text: str) -> str:
    """Without what Postgres refuses: NUL and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return {_text(str(key)): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value


# An end makes no group; a group that exists is locked by the conflict. New ones begin as over: counting opens them.
LOCK = """
INSERT INTO alerts_alertgroup
    (key, persona_id, rule, is_current, opened_at, firing_since, resolved_at, severity, firing, total, said_severity,
     acknowledged_by, acknowledged_severity, sequence)
SELECT gen_random_uuid(), wanted.persona_id, wanted.rule, true, %(at)s, %(at)s, %(at)s, 'low', 0, 0, '', '', '', 0
FROM unnest(%(personas)s::text[], %(rules)s::text[], %(fires)s::boolean[]) AS wanted(persona_id, rule, fires)
WHERE wanted.fires OR EXISTS (
    SELECT 1 FROM alerts_alertgroup AS present
    WHERE present.persona_id = wanted.persona_id AND present.rule = wanted.rule AND present.is_current
)
ORDER BY wanted.persona_id, wanted.rule
ON CONFLICT (persona_id, rule) WHERE is_current DO UPDATE SET is_current = true
RETURNING *
"""


def _lock(heard: Sequence[Heard], at: datetime) -> list[AlertGroup]:
    fires = {signal.key for signal in heard if signal.status is Status.FIRING}
    keys = {signal.key for signal in heard}
    wanted = sorted(keys | neighbours(keys) | _budgets_below(keys))
    return list(
        AlertGroup.objects.raw(
            LOCK,
            {
                "personas": [persona for persona, _ in wanted],
                "rules": [rule for _, rule in wanted],
                "fires": [key in fires for key in wanted],
                "at": at,
            },
        )
    )


def _budgets_below(keys: Collection[Key]) -> set[Key]:
    """The budget of the whole installation mutes those of all personas."""
    if ("", BUDGET_OVERRUN) not in keys:
        return set()
    overrun = AlertGroup.objects.open().filter(rule=BUDGET_OVERRUN)
    return {(persona, BUDGET_OVERRUN) for persona in overrun.values_list("persona_id", flat=True)}


def _is_current(signal: Heard, known: Mapping[str, Alert]) -> bool:
    """Whether it is newer than what was heard last. Nobody heard of the beginning: then the end is no news either."""
    alert = known.get(signal.fingerprint)
    if alert is None:
        return signal.status is Status.FIRING
    return signal.at >= alert.heard_at


def _begin_anew(firing: Iterable[Heard], groups: dict[Key, AlertGroup], at: datetime) -> None:
    """Give those a new group whose last incident is over for longer than it would be repeated."""
    repeat = announce.pace().repeat
    keys = {signal.key for signal in firing}
    over = {key: group for key, group in groups.items() if key in keys and not group.is_open}
    old = {key: group for key, group in over.items() if (group.said_at or group.resolved_at or at) + repeat <= at}
    if not old:
        return
    AlertGroup.objects.filter(pk__in=[group.pk for group in old.values()]).update(is_current=False)
    begun = [
        AlertGroup(persona_id=persona, rule=rule, opened_at=at, firing_since=at, resolved_at=at, severity=Severity.LOW)
        for persona, rule in sorted(old)
    ]
    groups.update({(group.persona_id, group.rule): group for group in AlertGroup.objects.bulk_create(begun)})


KEEP = """
INSERT INTO alerts_alert
    (fingerprint, group_id, persona_id, rule, scope, severity, status, title, fact_pairs, url,
     started_at, ended_at, heard_at)
SELECT fingerprint, group_id, persona_id, rule, scope, severity, status, title, fact_pairs, url,
       heard_at, CASE status WHEN 'resolved' THEN heard_at END, heard_at
FROM jsonb_populate_recordset(NULL::alerts_alert, %s::jsonb)
ORDER BY fingerprint
ON CONFLICT (fingerprint) DO UPDATE SET
    group_id = CASE excluded.status WHEN 'firing' THEN excluded.group_id ELSE alerts_alert.group_id END,
    severity = excluded.severity, status = excluded.status, title = excluded.title, fact_pairs = excluded.fact_pairs,
    url = excluded.url, scope = excluded.scope, heard_at = excluded.heard_at,
    started_at = CASE WHEN alerts_alert.status = 'resolved' AND excluded.status = 'firing'
                      THEN excluded.started_at ELSE alerts_alert.started_at END,
    ended_at = CASE excluded.status WHEN 'resolved' THEN COALESCE(alerts_alert.ended_at, excluded.ended_at) END
"""


def _keep(heard: Iterable[Heard], groups: Mapping[Key, AlertGroup]) -> None:
    rows = [
        {
            "fingerprint": signal.fingerprint,
            "group_id": groups[signal.key].pk,
            "persona_id": signal.persona_id,
            "rule": signal.rule,
            "scope": signal.scope,
            "severity": signal.severity,
            "status": signal.status,
            "title": signal.title,
            "fact_pairs": signal.fact_pairs,
            "url": signal.url,
            "heard_at": signal.at,
        }
        for signal in heard
        if signal.status is not Status.ACKNOWLEDGED and signal.key in groups
    ]
    with connection.cursor() as cursor:
        cursor.execute(KEEP, [as_json(rows)])


def _news(heard: Iterable[Heard], known: Mapping[str, Alert], groups: Mapping[Key, AlertGroup]) -> dict[int, News]:
    """What began to fire or got worse, by group."""
    news: dict[int, News] = {}
    for signal in heard:
        if signal.status is Status.FIRING and _is_new(signal, known.get(signal.fingerprint)):
            group_id = groups[signal.key].pk
            count = news[group_id].count if group_id in news else 0
            news[group_id] = News(count + 1, signal.fingerprint)
    return news


def _end_acknowledgements(groups: Iterable[AlertGroup], news: Mapping[int, News]) -> None:
    """Who took one budget has not taken the next: where a group is about several subjects, a new one is news."""
    for group in groups:
        if group.pk in news and group.rule in SEVERAL_SUBJECTS:
            group.acknowledged_at, group.acknowledged_by, group.acknowledged_severity = None, "", ""


def _is_new(signal: Heard, alert: Alert | None) -> bool:
    if alert is None or alert.status != Status.FIRING:
        return True
    return signal.severity.rank > Severity(alert.severity).rank


def _count(groups: Iterable[AlertGroup], at: datetime) -> None:
    """Set each group to what its alerts say: whether it fires, how badly, how many."""
    by_id = {group.pk: group for group in groups}
    counted = (
        Alert.objects.filter(group_id__in=by_id)
        .values_list("group_id", "status", "severity")
        .annotate(alerts=models.Count("pk"))
        .order_by()
    )
    found: dict[int, list[tuple[str, Severity, int]]] = {group_id: [] for group_id in by_id}
    for group_id, status, severity, alerts in counted:
        found[group_id].append((status, Severity(severity), alerts))
    for group_id, group in by_id.items():
        _settle(group, found[group_id], at)


def _settle(group: AlertGroup, counted: Sequence[tuple[str, Severity, int]], at: datetime) -> None:
    firing = [(severity, alerts) for status, severity, alerts in counted if status == Status.FIRING]
    group.firing = sum(alerts for _, alerts in firing)
    group.total = sum(alerts for _, _, alerts in counted)
    if firing:
        group.severity = max((severity for severity, _ in firing), key=lambda severity: severity.rank)
    if firing and not group.is_open:
        group.resolved_at, group.firing_since = None, at
    elif not firing and group.is_open:
        group.resolved_at = at


def _acknowledge(heard: Iterable[Heard], known: Mapping[str, Alert], at: datetime) -> None:
    taken = {
        known[signal.fingerprint].group_id
        for signal in heard
        if signal.status is Status.ACKNOWLEDGED and signal.fingerprint in known
    }
    for group_id in sorted(taken):
        acknowledge.acknowledge(group_id, by="engine", at=at)
