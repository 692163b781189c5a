"""The engine for Python callers: track what was used, ask what a post cost. The specified methods, all awaitable.

Every method has a plain twin, `<name>_sync`, which works on the caller's own thread and connection. What a tracking
method returned is durable; a question about a post first books what waits of that post, so it sees its own writes.
"""

import functools
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Concatenate, ParamSpec, Self, TypedDict, TypeVar, Unpack

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.utils.module_loading import import_string
from django.utils.timezone import now

from costs import attribution, booking, drain, ingest, outcomes, threads
from costs.events import MONEY_DECIMALS, InvalidEvent, amount_of, completed, encode, parse
from costs.models import DEFAULT_SOURCE
from costs.prices import current_book

log = logging.getLogger(__name__)

Number = int | float | str | Decimal
MINUTES_PER_HOUR = 60
# Metadata of track_cost_for_post under these names also describes the event itself.
DESCRIBING = ("persona_id", "operation", "provider", "model", "correlation_id", "request_id")

S = TypeVar("S")
P = ParamSpec("P")
T = TypeVar("T")


class Identity(TypedDict, total=False):
    """What every tracking method takes besides; an event_id makes a repeated call count once."""

    event_id: str
    correlation_id: str
    request_id: str
    hold_id: str
    timestamp: datetime


class Tracked(TypedDict):
    """cost_amount: what the event is booked with, in dollars; None while it has no price."""

    event_id: str
    post_id: str | None
    cost_type: str
    cost_amount: Decimal | None


class Told(TypedDict, total=False):
    """What track_outcome takes besides; an event_id makes a repeated call count once."""

    event_id: str
    timestamp: datetime


class TrackedOutcome(TypedDict):
    event_id: str
    kind: str


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What one engine may set for itself; each default is the setting FINOPS_<KEY>."""

    cost_threshold_per_post: Decimal
    alert_threshold_multiplier: Decimal
    storage_latency_target_ms: int
    anomaly_detection_enabled: bool
    anomaly_check_interval_seconds: int

    @classmethod
    def made_of(cls, overrides: Mapping[str, Any] | None) -> Self:
        """Raises ImproperlyConfigured for an unknown key or a value of the wrong kind."""
        values = {known.name: getattr(settings, _setting(known.name)) for known in fields(cls)}
        for key, value in (overrides or {}).items():
            if key not in values:
                raise ImproperlyConfigured(_why_unknown(key, list(values)))
            values[key] = _like(values[key], key, value)
        return cls(**values)

    @property
    def target(self) -> attribution.Target:
        return attribution.Target(self.cost_threshold_per_post, self.alert_threshold_multiplier)


def awaitable(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """The async twin of a plain method: the same work in a thread of the shared pool."""

    @functools.wraps(method)
    async def twin(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await threads.shared().run(functools.partial(method, self, *args, **kwargs))

    twin.__name__ = method.__name__.removesuffix("_sync")
    return twin


class PostCostAttributor:
    """Attributes costs to posts and tells what a post cost. Needs no engine."""

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.config = EngineConfig.made_of(config)

    def track_cost_for_post_sync(
        self,
        post_id: str,
        cost_type: str,
        cost_amount: Number,
        metadata: Mapping[str, Any] | None = None,
        **identity: Unpack[Identity],
    ) -> Tracked:
        """Track an amount in dollars that the caller knows. Raises InvalidEvent when it is refused.

        persona_id, operation, provider, model, correlation_id and request_id in the metadata describe the event too.
        """
        kept = dict(metadata or {})
        described = {name: kept[name] for name in DESCRIBING if isinstance(kept.get(name), str)}
        amount = _exact("cost_amount", cost_amount)
        event = {"post_id": post_id, "cost_type": cost_type, "amount": amount, "metadata": kept, **described}
        return self._track({**event, **identity})

    def get_post_cost_breakdown_sync(self, post_id: str) -> dict[str, Any]:
        """As GET /costs/post/{post_id}; of a post that nothing is known of, one without costs and events."""
        drain.drain_post(post_id, at=now())
        return attribution.post_breakdown(post_id) or attribution.empty_breakdown(post_id)

    def get_post_cost_summary_sync(self, post_id: str) -> dict[str, Any] | None:
        """As GET /costs/post/{post_id}/summary, judged by this instance's thresholds; None for an unknown post."""
        drain.drain_post(post_id, at=now())
        return attribution.post_summary(post_id, target=self.config.target)

    def calculate_total_post_cost_sync(self, post_id: str) -> Decimal:
        """In dollars; 0 for an unknown post."""
        drain.drain_post(post_id, at=now())
        return attribution.post_total(post_id)

    track_cost_for_post = awaitable(track_cost_for_post_sync)
    get_post_cost_breakdown = awaitable(get_post_cost_breakdown_sync)
    get_post_cost_summary = awaitable(get_post_cost_summary_sync)
    calculate_total_post_cost = awaitable(calculate_total_post_cost_sync)

    def _track(self, event: dict[str, Any]) -> Tracked:
        at, started = now(), time.monotonic()
        event_id = ingest.track(event, at=at)
        self._note_latency((time.monotonic() - started) * 1000)
        return Tracked(
            event_id=event_id,
            post_id=event["post_id"],
            cost_type=event["cost_type"],
            cost_amount=_foreseen_amount(event, at),
        )

    def _note_latency(self, milliseconds: float) -> None:
        if milliseconds > self.config.storage_latency_target_ms:
            log.warning("slow accept: %d ms, the target is %d ms", milliseconds, self.config.storage_latency_target_ms)


class ViralFinOpsEngine(PostCostAttributor):
    """An attributor that also counts what was used: tokens, compute, vector queries; prices come from the ledger."""

    @property
    def post_cost_attributor(self) -> PostCostAttributor:
        return self

    def track_openai_cost_sync(
        self,
        model: str,
        input_tokens: int,
        output_tokens: int,
        operation: str | None = None,
        persona_id: str | None = None,
        post_id: str | None = None,
        **identity: Unpack[Identity],
    ) -> Tracked:
        """Track one call of a model; input_tokens include cached ones. Raises InvalidEvent when it is refused."""
        usage = {"input_tokens": input_tokens, "output_tokens": output_tokens}
        called = {"cost_type": "openai_api", "provider": "openai", "model": model, "usage": usage}
        return self._track({**called, **_attributed(operation, persona_id, post_id), **identity})

    def track_infrastructure_cost_sync(
        self,
        resource_type: str,
        service: str,
        cpu_cores: Number,
        memory_gb: Number,
        duration_minutes: Number,
        operation: str | None = None,
        persona_id: str | None = None,
        post_id: str | None = None,
        **identity: Unpack[Identity],
    ) -> Tracked:
        """Track cores and memory held for some minutes, fractions included; resource_type becomes the cost type."""
        hours = _decimal("duration_minutes", duration_minutes) / MINUTES_PER_HOUR
        usage = {
            "cpu_core_hours": _decimal("cpu_cores", cpu_cores) * hours,
            "memory_gb_hours": _decimal("memory_gb", memory_gb) * hours,
        }
        used = {"cost_type": resource_type, "usage": usage, "metadata": {"service": service}}
        return self._track({**used, **_attributed(operation, persona_id, post_id), **identity})

    def track_vector_db_cost_sync(
        self,
        operation: str,
        query_count: int,
        collection: str,
        persona_id: str | None = None,
        post_id: str | None = None,
        **identity: Unpack[Identity],
    ) -> Tracked:
        """Track queries of a vector database."""
        usage, metadata = {"vector_reads": query_count}, {"collection": collection}
        queried = {"cost_type": "vector_db", "usage": usage, "metadata": metadata}
        return self._track({**queried, **_attributed(operation, persona_id, post_id), **identity})

    def track_outcome_sync(
        self,
        kind: str,
        *,
        quantity: Number | None = None,
        amount: Number | None = None,
        post_id: str | None = None,
        persona_id: str | None = None,
        **told: Unpack[Told],
    ) -> TrackedOutcome:
        """Track what a post brought: follow and engagement by quantity, revenue by its amount in dollars.

        Raises InvalidEvent when it is refused.
        """
        sent = {
            "kind": kind,
            "quantity": None if quantity is None else _exact("quantity", quantity),
            "amount": None if amount is None else _exact("amount", amount),
            "post_id": post_id,
            "persona_id": persona_id,
        }
        return TrackedOutcome(event_id=outcomes.track({**sent, **told}, at=now()), kind=kind)

    def check_for_anomalies_sync(self, persona_id: str) -> dict[str, Any]:
        """{"anomalies_detected": [...], "checked_at": ...}: detection for one persona, now, by this engine's config."""
        at = now()
        if not self.config.anomaly_detection_enabled:
            return {"anomalies_detected": [], "checked_at": at}
        check: Callable[..., dict[str, Any]] = _anomaly_check()
        return check(persona_id, at=at, config=self.config)

    track_openai_cost = awaitable(track_openai_cost_sync)
    track_infrastructure_cost = awaitable(track_infrastructure_cost_sync)
    track_vector_db_cost = awaitable(track_vector_db_cost_sync)
    track_outcome = awaitable(track_outcome_sync)
    check_for_anomalies = awaitable(check_for_anomalies_sync)


def _attributed(operation: str | None, persona_id: str | None, post_id: str | None) -> dict[str, str | None]:
    return {"operation": operation, "persona_id": persona_id, "post_id": post_id}


def _foreseen_amount(event: dict[str, Any], at: datetime) -> Decimal | None:
    """What the drain will book, by the same functions and prices."""
    found = completed(parse(encode(event)), at)
    if found.amount is not None:
        return amount_of(found)
    try:
        prices = current_book()
    except DatabaseError:
        # The event is accepted by now: an error here (a caller's broken transaction) must not look as if it were not.
        return None
    lines = booking.book([found], source=DEFAULT_SOURCE, prices=prices).lines
    return lines[0].cost_amount if lines else None


def _anomaly_check() -> Callable[..., dict[str, Any]]:
    """`check(persona_id, *, at, config)` by its setting: costs imports nothing that stands above it."""
    name = settings.FINOPS_ANOMALY_CHECK
    try:
        found: Callable[..., dict[str, Any]] = import_string(name)
    except ImportError as error:
        raise ImproperlyConfigured(
            f"FINOPS_ANOMALY_CHECK names {name}, which cannot be imported; without detection set"
            " anomaly_detection_enabled to false."
        ) from error
    return found


def _setting(key: str) -> str:
    return f"FINOPS_{key.upper()}"


def _why_unknown(key: str, known: list[str]) -> str:
    if hasattr(settings, _setting(key)):
        return f"{key} holds for the whole process: set {_setting(key)} instead of giving it to one engine."
    return f"{key!r} is no key of the engine's config; it knows {', '.join(known)}."


def _like(default: Any, key: str, value: Any) -> Any:
    """The value, if it is of its default's kind."""
    if isinstance(default, bool) or isinstance(value, bool):
        if type(value) is not type(default):
            raise ImproperlyConfigured(
                f"{key}: must be {'true or false' if isinstance(default, bool) else 'a number'}."
            )
        return value
    try:
        number = _decimal(key, value)
    except InvalidEvent as error:
        raise ImproperlyConfigured(f"{error}.") from None
    if not number.is_finite() or number < 0:
        raise ImproperlyConfigured(f"{key}: must be at least 0, not {value!r}.")
    return int(number) if isinstance(default, int) else number


def _exact(name: str, value: Number) -> Decimal:
    """A float has no exact decimals, so it is rounded to the ledger's; everything else is taken digit by digit."""
    number = _decimal(name, value)
    return round(number, MONEY_DECIMALS) if isinstance(value, float) and number.is_finite() else number


def _decimal(name: str, value: Number) -> Decimal:
    """By the shortest digits that mean the same float: 0.1 is 0.1."""
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise InvalidEvent(f"{name}: must be a number, not {value!r}") from None
