"""The counters that Prometheus reads: what was ever spent, by a bounded number of labels, the same from any process.

A batch of lines leaves one note in the transaction that writes them, so each line counts exactly once and no drain
waits for another's rows; whoever reads the totals adds the notes up first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import msgspec
from django.conf import settings
from django.db import connection, transaction

from costs.booking import CHARGE, Line
from costs.models import MetricTotal

OPENAI = "openai_api_costs_usd_total"
KUBERNETES = "kubernetes_resource_costs_usd_total"
VECTOR_DB = "vector_db_operation_costs_usd_total"
GENERIC = "finops_generic_costs_usd_total"
EVENTS = "finops_cost_events_total"
ADJUSTMENTS = "finops_cost_adjustments_usd"
OTHER = "other"
# Of costs that are nobody's.
NOBODY = ""
LOCK = 2_400_003
NOTES_AT_ONCE = 200
ZERO, ONE = Decimal(0), Decimal(1)

Key = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Metric:
    """A counter, or the one gauge among them. `rooms`: so many series may have these of its labels by name.

    Whatever finds no room in one goes on to the next, with `other` for the labels that this one does not name; the
    last has room for all.
    """

    name: str
    help: str
    labels: tuple[str, ...]
    rooms: tuple[tuple[int | None, tuple[str, ...]], ...]

    @property
    def persona_place(self) -> int | None:
        return self.labels.index("persona_id") if "persona_id" in self.labels else None


METRICS = (
    Metric(
        OPENAI,
        "US dollars charged for the OpenAI API.",
        ("model", "persona_id", "operation"),
        ((50, ("model", "persona_id", "operation")), (500, ("model", "persona_id")), (None, ("persona_id",))),
    ),
    Metric(
        KUBERNETES,
        "US dollars charged for Kubernetes resources.",
        ("service", "resource_type", "operation"),
        ((50, ("service", "resource_type", "operation")), (80, ("service", "resource_type")), (None, ())),
    ),
    Metric(
        VECTOR_DB,
        "US dollars charged for operations of vector databases.",
        ("collection", "persona_id", "operation"),
        (
            (60, ("collection", "persona_id", "operation")),
            (150, ("collection", "persona_id")),
            (None, ("persona_id",)),
        ),
    ),
    Metric(
        GENERIC,
        "US dollars charged for whatever has no metric of its own.",
        ("cost_type", "persona_id"),
        ((200, ("cost_type", "persona_id")), (None, ("persona_id",))),
    ),
    Metric(EVENTS, "Charges booked, priced or not.", ("cost_type",), ((30, ("cost_type",)), (None, ()))),
    Metric(
        ADJUSTMENTS,
        "US dollars of adjustments and credits: the ledger is what was charged and this.",
        ("cost_type",),
        ((30, ("cost_type",)), (None, ())),
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}


def note(lines: Sequence[Line]) -> None:
    """Remember what these lines add; in the transaction that writes them."""
    moves: dict[Key, Decimal] = {}
    for line in lines:
        for key, amount in _moves(line):
            moves[key] = moves.get(key, ZERO) + amount
    if moves:
        written = msgspec.json.encode([[*key, amount] for key, amount in moves.items()]).decode()
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO costs_metricnote (moves) VALUES (%s::jsonb)", [written])


def roll_up() -> None:
    """Add all notes to the totals, and forget them. Another process that does the same is waited for."""
    while _roll_up_some() == NOTES_AT_ONCE:
        pass


def totals() -> list[tuple[str, list[str], Decimal]]:
    """As of now, (metric, labels, value) in the order of the names and labels."""
    roll_up()
    return list(MetricTotal.objects.order_by("metric", "labels").values_list("metric", "labels", "value"))


def personas() -> frozenset[str]:
    """Whose name is a label, nobody's included. Every other is `other`, here and in every gauge."""
    return personas_of(MetricTotal.objects.values_list("metric", "labels"))


def personas_of(series: Iterable[tuple[str, Sequence[str]]]) -> frozenset[str]:
    """The same, of series that are at hand: (metric, labels)."""
    places = {metric.name: metric.persona_place for metric in METRICS}
    named = {labels[place] for name, labels in series if (place := places[name]) is not None}
    return frozenset({NOBODY, *named} - {OTHER})


def by_label(amounts: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """The same by the persona's label: those without one of their own are added up."""
    shown, sums = personas(), dict[str, Decimal]()
    for persona, amount in sorted(amounts.items()):
        label = persona if persona in shown else OTHER
        sums[label] = sums.get(label, ZERO) + amount
    return sums


def _moves(line: Line) -> list[tuple[Key, Decimal]]:
    is_charge, amount = line.entry_type == CHARGE, line.cost_amount
    moves: list[tuple[Key, Decimal]] = [((EVENTS, (line.cost_type,)), ONE)] if is_charge else []
    if amount is not None and is_charge and amount >= 0:
        moves.append((_key(line), amount))
    elif amount is not None:
        # A counter that falls reads as a restart, and rate() would invent money.
        moves.append(((ADJUSTMENTS, (line.cost_type,)), amount))
    return moves


def _key(line: Line) -> Key:
    persona, operation, said = line.persona_id or "", line.operation or "", line.cost_metadata
    match line.cost_type:
        case "openai_api":
            return OPENAI, (line.model or "", persona, operation)
        case "kubernetes":
            return KUBERNETES, (_text(said.get("service")), _text(said.get("resource_type")), operation)
        case "vector_db":
            return VECTOR_DB, (_text(said.get("collection")), persona, operation)
    return GENERIC, (line.cost_type, persona)


def _text(value: object) -> str:
    return value[:100] if isinstance(value, str) else ""


# Added up by Postgres: a minute of heavy load is a hundred megabytes of notes.
TAKE = """
WITH taken AS (
    DELETE FROM costs_metricnote WHERE id IN (SELECT id FROM costs_metricnote ORDER BY id LIMIT %s) RETURNING moves
)
SELECT (SELECT count(*) FROM taken), move->>0, (move->1)::text, sum((move->>2)::numeric)
FROM taken, jsonb_array_elements(moves) AS move GROUP BY move->>0, move->1
"""


def _roll_up_some() -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        # Who gets a label is decided once and for all, so by one process at a time.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        cursor.execute(TAKE, [NOTES_AT_ONCE])
        rows = cursor.fetchall()
        if not rows:
            return 0
        _add({(name, tuple(msgspec.json.decode(labels))): amount for _, name, labels, amount in rows})
    return int(rows[0][0])


def _add(sums: dict[Key, Decimal]) -> None:
    rooms = _Rooms(MetricTotal.objects.values_list("metric", "labels"))
    found: dict[Key, Decimal] = {}
    for key, amount in sorted(sums.items()):
        place = rooms.place(*key)
        found[place] = found.get(place, ZERO) + amount
    MetricTotal.add(found)


class _Rooms:
    """Which series there are, and which one a new combination of labels gets."""

    def __init__(self, known: Iterable[tuple[str, Sequence[str]]]) -> None:
        self._known = {(name, tuple(labels)) for name, labels in known}
        self._personas = set(personas_of(self._known))
        self._counts = {name: sum(each == name for each, _ in self._known) for name in BY_NAME}

    def place(self, name: str, labels: tuple[str, ...]) -> Key:
        metric = BY_NAME[name]
        labels = self._with_persona(metric, labels)
        for most, named in metric.rooms:
            kept = zip(metric.labels, labels, strict=True)
            key = name, tuple(value if label in named else OTHER for label, value in kept)
            if key in self._known or most is None or self._counts[name] < most:
                break
        if key not in self._known:
            self._known.add(key)
            self._counts[name] += 1
        return key

    def _with_persona(self, metric: Metric, labels: tuple[str, ...]) -> tuple[str, ...]:
        place = metric.persona_place
        if place is None or labels[place] in self._personas:
            return labels
        # Nobody is one of them and takes no place.
        if len(self._personas) - 1 < settings.FINOPS_METRICS_PERSONAS:
            self._personas.add(labels[place])
            return labels
        return (*labels[:place], OTHER, *labels[place + 1 :])
