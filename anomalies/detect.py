"""Detection, three ways in: after each batch what it touched, every half minute all that time changes, and on demand.

The rows say what to do: notes of what was touched are deleted by the transaction that stores what was found there, and
the sweep's watermark moves with what it found. So a look is never lost, and made twice it changes nothing.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Max

from alerts import heartbeat
from alerts.signal import Severity
from anomalies import controlled, hourly, incidents, late_outcomes, looks, quiet, series, wording
from anomalies.incidents import Look
from anomalies.models import Anomaly, Touch
from anomalies.readings import RECENT, active_personas
from anomalies.rules import Rules
from costs import drain
from costs.attribution import Target
from costs.engine import EngineConfig

log = logging.getLogger(__name__)

NOTES_AT_ONCE = 50
# So few are looked at together with what their personas spent; of more it comes first.
FEW_POSTS = 100
# A thousand dear posts take a second, and everybody who stores incidents waits that long.
POSTS_AT_ONCE = 1000
# Well below the soft limit of a task; what is left is dealt with by the next one.
SECONDS = 10
# The database or the task's time is to blame, not the notes.
PASSING = (OperationalError, InterfaceError, SoftTimeLimitExceeded)
DAY = timedelta(days=1)

TAKE = """
WITH waiting AS MATERIALIZED (
    SELECT id, cardinality(posts) AS posts FROM anomalies_touch WHERE id <= %s ORDER BY id LIMIT %s
    FOR UPDATE SKIP LOCKED
), chosen AS (
    SELECT id, sum(posts) OVER (ORDER BY id) - posts AS posts_before FROM waiting
)
DELETE FROM anomalies_touch WHERE id IN (SELECT id FROM chosen WHERE posts_before < %s)
RETURNING id, newest, personas, posts, outcomes, unpriced
"""


@dataclass(slots=True)
class Touched:
    """Notes taken together: for each persona the newest of its lines, and the posts.

    `spending` are the personas whose spending nobody has looked at since the note was written.
    """

    notes: int = 0
    spending: dict[str, datetime] = field(default_factory=dict)
    personas: dict[str, datetime] = field(default_factory=dict)
    posts: set[str] = field(default_factory=set)
    outcomes: set[str] = field(default_factory=set)
    unpriced: bool = False


def check_touched(at: datetime) -> int:
    """Look at what was noted since the last time; returns how many notes were dealt with.

    Not at what is noted from then on: that rings for itself, and beside a steady load one look would follow the other.
    """
    started, done, most = time.monotonic(), 0, NOTES_AT_ONCE
    looked_at = _look_at_all_spending(at) if _much_waits() else set[int]()
    up_to = Touch.objects.aggregate(up_to=Max("pk"))["up_to"] or 0
    while time.monotonic() - started < SECONDS:
        try:
            dealt_with = _deal_with(up_to, most, looked_at, at)
        except PASSING:
            raise
        except Exception:
            # Alone, a note that cannot be looked at is dropped: it must not keep all others waiting for ever. But not
            # what was spent: if that cannot be looked at by itself either, this raises, and all notes stay.
            log.exception("looking at what was touched failed")
            looked_at = looked_at or _look_at_all_spending(at)
            dealt_with = _drop_the_first() if most == 1 else 0
            most = 1
        else:
            if not dealt_with:
                break
        done += dealt_with
    return done


def _deal_with(up_to: int, most: int, looked_at: Collection[int], at: datetime) -> int:
    """Look at so many notes, in a transaction of their own; returns how many there were."""
    with transaction.atomic():
        touched = _take(up_to, most, looked_at, at)
        if touched.notes:
            _look_at(touched, at)
    return touched.notes


def _drop_the_first() -> int:
    first = Touch.objects.order_by("pk").values("pk")[:1]
    return Touch.objects.filter(pk__in=first).delete()[0]


def _much_waits() -> bool:
    """Then what was spent comes first: a spike does not wait behind ten thousand dear posts."""
    waiting = list(Touch.objects.values_list("posts__len", flat=True)[: NOTES_AT_ONCE + 1])
    return len(waiting) > NOTES_AT_ONCE or sum(waiting) > FEW_POSTS


def _look_at_all_spending(at: datetime) -> set[int]:
    """Of all notes, whichever they stand in; returns which these are, for more are written meanwhile."""
    newest: dict[str, datetime] = {}
    notes = list(Touch.objects.values_list("pk", "newest", "personas"))
    for _, used, personas in notes:
        _note(newest, personas, used)
    _look_at_spending(_as_of(newest, at), at)
    return {note for note, *_ in notes}


def _note(newest: dict[str, datetime], personas: Iterable[str], used: datetime) -> None:
    for persona in personas:
        newest[persona] = max(newest.get(persona, used), used)


def _as_of(newest: Mapping[str, datetime], at: datetime) -> dict[str, datetime]:
    """What was used just now is looked at as of now; what waited for hours as of its own time."""
    return {persona: used if used < at - RECENT else at for persona, used in newest.items()}


@transaction.atomic
def _look_at_spending(personas: Mapping[str, datetime], at: datetime) -> None:
    _store(looks.at_spending(personas, Rules.stored(), target=Target.configured()), at)


def _store(found: Sequence[Look], at: datetime) -> None:
    """Incidents first, then the breaker, and nothing after it: who waits for its row may hold what we would want."""
    incidents.apply(found, at=at)
    controlled.observe(found, at=at)


def _take(up_to: int, most: int, looked_at: Collection[int], at: datetime) -> Touched:
    touched = Touched()
    with connection.cursor() as cursor:
        cursor.execute(TAKE, [up_to, most, POSTS_AT_ONCE])
        for note, newest, personas, posts, outcomes, unpriced in cursor.fetchall():
            touched.notes += 1
            touched.posts.update(posts)
            touched.outcomes.update(outcomes)
            touched.unpriced |= unpriced
            _note(touched.personas, personas, newest)
            if note not in looked_at:
                _note(touched.spending, personas, newest)
    touched.personas, touched.spending = _as_of(touched.personas, at), _as_of(touched.spending, at)
    return touched


def _look_at(touched: Touched, at: datetime) -> None:
    rules, target = Rules.stored(), Target.configured()
    found = [
        *looks.at_spending(touched.spending, rules, target=target),
        *looks.at_posts(touched.posts, rules, target=target),
        *looks.at_outcomes(sorted(touched.outcomes), rules, at, per_follow=settings.FINOPS_COST_PER_FOLLOW_TARGET),
        *looks.at_budgets(rules, at, set(touched.personas)),
        *(hourly.at_unpriced(rules, at) if touched.unpriced else ()),
    ]
    _store(found, at)


def sweep(at: datetime) -> None:
    """All that time changes: what calms down, closed windows, missing data; and whatever a lost ring left behind."""
    if not settings.FINOPS_ANOMALY_DETECTION_ENABLED:
        return
    check_touched(at)
    failed = [step for step in STEPS if not _is_done(step, at)]
    if not failed:
        heartbeat.progressed(at=at)


def _sweep_spending(at: datetime) -> None:
    """Who spent lately, and who has an open incident: leaving one needs looks when nothing happens."""
    rules, target = Rules.stored(), Target.configured()
    personas = active_personas(at - RECENT, at)
    found = looks.at_spending(dict.fromkeys(personas, at), rules, target=target)
    _store([*found, *quiet.unseen("cost_spike", {look.key for look in found}, rules)], at)


def _sweep_outcomes(at: datetime) -> None:
    rules = Rules.stored()
    found = looks.at_outcomes(
        active_personas(at - DAY, at), rules, at, per_follow=settings.FINOPS_COST_PER_FOLLOW_TARGET
    )
    seen = {look.key for look in found}
    _store([*found, *(look for rule in OF_OUTCOMES for look in quiet.unseen(rule, seen, rules))], at)


OF_OUTCOMES = ("efficiency_drop", "negative_roi", "cost_threshold")
STEPS: tuple[Callable[[datetime], None], ...] = (
    _sweep_spending,
    _sweep_outcomes,
    quiet.end_quiet_posts,
    late_outcomes.revise,
    series.catch_up,
    hourly.catch_up,
    controlled.revisit,
)


def _is_done(step: Callable[[datetime], None], at: datetime) -> bool:
    try:
        with transaction.atomic():
            step(at)
    except Exception:
        # One broken rule must not switch the others off; without a heartbeat somebody will come and look.
        log.exception("the sweep's step %s failed", step.__name__)
        return False
    return True


def check(persona_id: str, *, at: datetime, config: EngineConfig) -> dict[str, Any]:
    """What is wrong with one persona now, by the engine's own thresholds. Stores nothing and alerts nobody.

    {"anomalies_detected": [{anomaly_type, severity, persona_id, current, baseline, multiplier, scope, evidence}, …],
    "checked_at"}; the worst first.
    """
    drain.drain(at=at, seconds=1)
    rules = Rules.stored()
    posts = _latest_posts(persona_id, at)
    found = [
        *looks.at_spending({persona_id: at}, rules, target=config.target),
        *looks.at_posts(posts, rules, target=config.target),
        *looks.at_outcomes([persona_id], rules, at, per_follow=settings.FINOPS_COST_PER_FOLLOW_TARGET),
        *looks.at_budgets(rules, at, {persona_id}),
    ]
    detected = [_told(look) for look in found if look.judgement and look.judgement.severity]
    keys = {(told["anomaly_type"], told["scope_key"]) for told in detected}
    standing = [
        _standing(anomaly)
        for anomaly in Anomaly.objects.open().filter(persona_id=persona_id, rule__in=STANDING)
        if (anomaly.rule, anomaly.scope_key) not in keys
    ]
    worst_first = sorted([*detected, *standing], key=lambda told: -Severity(told["severity"]).rank)
    for told in worst_first:
        del told["scope_key"]
    return {"anomalies_detected": worst_first, "checked_at": at}


# What only the sweep can find, since it needs closed windows.
STANDING = ("learned", "no_data", "forecast", "burn_rate")


def _latest_posts(persona_id: str, at: datetime) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT post_id FROM (SELECT post_id FROM cost_events"
            " WHERE (persona_id, timestamp) > (%s, %s) AND persona_id = %s AND post_id IS NOT NULL"
            " ORDER BY persona_id DESC, timestamp DESC LIMIT 1000) AS latest",
            [persona_id, at - DAY, persona_id],
        )
        return [post for (post,) in cursor.fetchall()]


def _told(look: Look) -> dict[str, Any]:
    judgement = look.judgement
    assert judgement is not None, "only findings are told"
    return {
        "anomaly_type": look.rule,
        "severity": str(judgement.severity),
        "persona_id": look.scope.get("persona_id", ""),
        "current": _plain(judgement.current),
        "baseline": _plain(judgement.baseline),
        "multiplier": _plain(judgement.multiplier),
        "scope": dict(look.scope),
        "evidence": dict(look.evidence()),
        "scope_key": look.key[1],
    }


def _standing(anomaly: Anomaly) -> dict[str, Any]:
    return {
        "anomaly_type": anomaly.rule,
        "severity": anomaly.severity,
        "persona_id": anomaly.persona_id,
        "current": _plain(anomaly.current),
        "baseline": _plain(anomaly.baseline),
        "multiplier": _plain(anomaly.multiplier),
        "scope": anomaly.scope,
        "evidence": anomaly.evidence,
        "scope_key": anomaly.scope_key,
    }


def _plain(value: Decimal | None) -> Decimal | None:
    """Rounded to the ledger's decimals, without trailing zeros."""
    return None if value is None else Decimal(wording.plain(wording.rounded(value, 12)))
