"""What the breaker did with a runaway, read back over HTTP, told with times, reasons and rates, and checked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from textwrap import wrap
from typing import Any
from urllib.parse import quote

from examples.content_pipeline.account import SNAPSHOTS, Account, Entry
from examples.content_pipeline.incident import NAMES
from examples.content_pipeline.personas import NIGHT_OWL, PERFECTIONIST
from examples.content_pipeline.readback import Ledger, compare, wait_until_booked
from examples.content_pipeline.receivers import Message, Receivers, about

# By the thresholds that ship; only the times are short, and the rate, for which a demo has no time.
POLICY = {
    **{"stay_seconds": 5, "calm_seconds": 6, "pause_seconds": 8},
    **{"medium_per_minute": 60, "high_per_minute": 60, "critical_per_minute": 60},
}
BUDGET_LIMIT = Decimal(5)
WALKED = ["throttle", "switch", "pause", "half_open", "closed"]
WORDS = {
    "closed": "let through",
    "throttle": "throttled",
    "switch": "switched to the cheaper model",
    "pause": "paused",
    "half_open": "let back in, on trial",
}
SWITCHED = ("switch", "half_open")
DEAR_MODEL = SNAPSHOTS[PERFECTIONIST.draft_model]
MODELS = {snapshot: model for model, snapshot in SNAPSHOTS.items()}
NOTICES = {"throttle": "persona_throttled", "switch": "model_switched", "pause": "persona_paused"}
# It may be told too, and its end is that of everything.
ALL_NOTICES = NOTICES | {"half_open": "persona_on_trial"}
# A call that was let in before a step may end after it.
UNDER_WAY = timedelta(seconds=2)
# Of less a rate says nothing.
SHORTEST_RATED = 5
REASON_WIDTH = 98
ZERO, TENTH = Decimal(0), Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Step:
    """A transition, or the beginning. A level that nothing renewed is over at `until`, whoever notes it when."""

    level: str
    at: datetime
    per_minute: int | None = None
    reason: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Phase:
    """A level, and the model calls that were made at it."""

    step: Step
    ends_at: datetime
    calls: int
    cost: Decimal

    @property
    def seconds(self) -> Decimal:
        passed = Decimal((self.ends_at - self.step.at) / timedelta(seconds=1))
        return max(passed.quantize(TENTH), TENTH)

    @property
    def is_rated(self) -> bool:
        return self.seconds >= SHORTEST_RATED

    def a_minute(self, amount: Decimal | int) -> Decimal:
        return amount * 60 / self.seconds


@dataclass(frozen=True, slots=True)
class Breaker:
    """What the API says of one persona's."""

    ledger: Ledger
    persona_id: str
    policy: Mapping[str, int] = field(default_factory=lambda: POLICY)

    @property
    def shortest_stay(self) -> timedelta:
        return timedelta(seconds=self.policy["stay_seconds"])

    def prepare(self) -> int:
        """Give it a policy of its own and a hard budget; returns the budget's id."""
        self.ledger.send("PUT", f"/controls/policies/{quote(self.persona_id)}", self.policy)
        budget = {
            "name": f"{self.persona_id} a day",
            "scope": {"persona_id": self.persona_id},
            **{"period": "daily", "limit": f"{BUDGET_LIMIT}", "hard": True},
        }
        return int(self.ledger.send("POST", "/budgets", budget)["id"])

    def level(self) -> str:
        steps = self.steps()
        return steps[-1].level if steps else "closed"

    def steps(self) -> list[Step]:
        """Every level that it came to, the oldest first; what only tightened is none."""
        status, body = self.ledger.get(f"/controls/{quote(self.persona_id)}/transitions")
        steps: list[Step] = []
        for each in reversed(body["transitions"]) if status == 200 else ():
            if each["to_level"] != each["from_level"]:
                steps.append(_step(each, steps[-1].until if steps else None))
        return steps

    def savings(self, since: datetime, until: datetime) -> Any:
        period = {"start_date": since.isoformat(), "end_date": until.isoformat()}
        return self.ledger.get("/controls/savings", persona_id=self.persona_id, **period)[1]

    def budget(self, budget_id: int) -> Any:
        return self.ledger.get(f"/budgets/{budget_id}")[1]


@dataclass(slots=True)
class Checks:
    """What should hold of a runaway that was stopped, by its own account."""

    account: Account
    steps: Sequence[Step]
    checked: int = 0
    wrong: list[str] = field(default_factory=list)

    def check(self, is_right: bool, sentence: str) -> None:
        self.checked += 1
        if not is_right:
            self.wrong.append(sentence)

    def check_levels(self, shortest_stay: timedelta) -> None:
        levels = [step.level for step in self.steps]
        self.check(levels == WALKED, f"the levels were {', '.join(levels) or 'none'}, not {', '.join(WALKED)}")
        for before, after in pairwise(self.steps):
            self.check(after.at - before.at >= shortest_stay, f"{before.level} was left before its shortest stay")

    def check_obedience(self) -> None:
        """What was let in before a step may end after it: calls count from a moment later on."""
        for phase in phases(self.steps, self.account):
            level, rate, seconds = phase.step.level, phase.step.per_minute, phase.seconds - UNDER_WAY.seconds
            made = _made(self.account, phase.step.at + UNDER_WAY, phase.ends_at)
            if level == "pause":
                self.check(not made, f"{len(made)} calls were made while it was paused")
            elif rate:
                most = max(seconds, ZERO) * rate / 60 + 1
                self.check(len(made) <= most, f"{len(made)} calls in {seconds} s are more than {rate} a minute")
            if level in SWITCHED:
                dear = [call for call in made if call.model == DEAR_MODEL]
                self.check(not dear, f"{len(dear)} calls took the dear model where they were switched")

    def check_money(self, savings: Mapping[str, Any], budget: Mapping[str, Any]) -> None:
        """Everything that the API says, against the producer's own account, exactly."""
        switched, denied = savings["by_kind"]["switched"], savings["by_kind"]["denied"]
        asked, paid = switched_costs(self.account)
        refused = sum((refusal.estimate for refusal in self.account.refusals), ZERO)
        for name, said, expected in (
            ("spent", savings["spent"], self.account.total()),
            ("would have cost of what was switched", switched["would_have_cost"], asked),
            ("cost of what was switched", switched["cost"], paid),
            ("estimate of what was denied", denied["saved"], refused),
            ("saved", savings["saved"], asked - paid + refused),
            ("spent of the budget", budget["spent"], self.account.total()),
            ("held of the budget", budget["held"], ZERO),
        ):
            self.check(Decimal(said) == expected, f"{name}: the API says {said}, the account {expected}")

    def check_told(self, receivers: Receivers, persona_id: str) -> None:
        messages = receivers.messages()
        for rule in NOTICES.values():
            for channel, heard in about(messages, persona_id, rule, ends=False).items():
                self.check(len(heard) == 1, f"{channel} has {len(heard)} messages of {rule} instead of one")


@dataclass(frozen=True, slots=True)
class Outcome:
    checks: Checks
    savings: Any
    budget: Any


def outcome(breaker: Breaker, budget_id: int, account: Account, since: datetime) -> Outcome:
    """Everything that the API says of the runaway, checked; waits until its events are booked."""
    until = datetime.now(UTC) + timedelta(minutes=1)
    is_booked = wait_until_booked(breaker.ledger, account, since, until, _in_silence)
    comparison = compare(breaker.ledger, account, since, until, _in_silence)
    checks = Checks(account, breaker.steps())
    savings, budget = breaker.savings(since, until), breaker.budget(budget_id)
    checks.check(is_booked, "not every event was booked in time: is a worker running?")
    checks.check(not comparison.differences, f"the ledger differs: {'; '.join(comparison.differences[:3])}")
    checks.check_levels(breaker.shortest_stay)
    checks.check_obedience()
    checks.check_money(savings, budget)
    return Outcome(checks, savings, budget)


def _in_silence(done: int) -> None:
    """It takes a second."""


def switched_costs(account: Account) -> tuple[Decimal, Decimal]:
    """What the switched calls had cost with the model that was asked for, and what they did cost."""
    switched = [entry for entry in account.entries.values() if entry.asked_cost is not None]
    return sum((entry.asked_cost or ZERO for entry in switched), ZERO), sum((entry.cost for entry in switched), ZERO)


def kept(checks: Checks) -> Iterator[str]:
    """What was let in at the levels that switch, but found no cheaper model; nothing where all of it did."""
    switched = [phase for phase in phases(checks.steps, checks.account) if phase.step.level in SWITCHED]
    made = [call for phase in switched for call in _made(checks.account, phase.step.at, phase.ends_at)]
    # Who still took the dear one was under way.
    let_in = [call for call in made if call.model != DEAR_MODEL]
    found = [call for call in let_in if call.asked_cost is None]
    if found:
        models = ", ".join(sorted({MODELS[call.model or ""] for call in found}))
        yield f"{len(found)} of {len(let_in)} calls kept their model: {models} has no cheaper one listed"


def phases(steps: Sequence[Step], account: Account) -> list[Phase]:
    """From the first call on: what was done at each level, up to the last call."""
    calls = _calls(account)
    if not calls:
        return []
    ends = [step.at for step in steps] + [max(calls[-1].timestamp, steps[-1].at if steps else calls[-1].timestamp)]
    found = []
    for step, end in zip([Step("closed", calls[0].timestamp), *steps], ends, strict=True):
        made = _made(account, step.at, end)
        found.append(Phase(step, end, len(made), sum((each.cost for each in made), ZERO)))
    return found


def timeline(found: Sequence[Phase]) -> Iterator[str]:
    """When each level began, counted from the first call, why, and what was bought at it."""
    yield "  by the thresholds that ship: 3 times the baseline, 20 events and $0.05 at least. Its own are its times,"
    yield "  which are short, and its rate: 60 calls a minute, where 50, 30 and 10 ship. Measured, it may be more: a"
    yield "  level's first call need not wait, and what was under way when the level began counts too"
    yield ""
    yield "    after    level                              lasts   model calls   a minute   $ a minute"
    for phase in found:
        yield _row(phase, found[0].step.at)
        yield from (f"             {line}" for line in wrap(phase.step.reason, REASON_WIDTH))


def _row(phase: Phase, started: datetime) -> str:
    after = (phase.step.at - started) / timedelta(seconds=1)
    calls, cost = "-", "-"
    if phase.is_rated:
        calls, cost = f"{phase.a_minute(phase.calls):.0f}", f"{phase.a_minute(phase.cost):.4f}"
    return (
        f"  {after:>5.1f} s    {WORDS[phase.step.level]:<32} {phase.seconds:>5} s   {phase.calls:>11}"
        f"   {calls:>8}   {cost:>10}"
    )


def told(receivers: Receivers, persona_id: str, steps: Sequence[Step]) -> Iterator[str]:
    """Who heard of which step, and how soon."""
    messages = receivers.messages()
    for step in steps:
        waits = [
            f"{NAMES[message.channel]} {(message.received_at - step.at).total_seconds():.1f} s"
            for message in _heard(messages, persona_id, step)
        ]
        if waits:
            yield f"  {WORDS[step.level]:<32} {', '.join(waits)} later"


def _heard(messages: Sequence[Message], persona_id: str, step: Step) -> Iterator[Message]:
    """The notice of the level; of the last one that the others are over, which was said after it came."""
    is_end = step.level == "closed"
    for rule in ALL_NOTICES.values() if is_end else (ALL_NOTICES.get(step.level, ""),):
        for heard in about(messages, persona_id, rule, ends=is_end).values():
            yield from (message for message in heard if not is_end or message.received_at >= step.at)


def saved(outcome: Outcome) -> Iterator[str]:
    savings, budget, kinds = outcome.savings, outcome.budget, outcome.savings["by_kind"]
    switched, throttled, denied = kinds["switched"], kinds["throttled"], kinds["denied"]
    yield f"  switched   {switched['calls']:>3} calls cost ${switched['cost']}; with the model that was asked for the"
    yield f"                 very same tokens had cost ${switched['would_have_cost']}"
    yield from (f"                 {line}" for line in kept(outcome.checks))
    yield f"  denied     {denied['calls']:>3} calls were never made: ${denied['saved']} by their estimates"
    yield f"  throttled  {throttled['delayed_calls']:>3} calls only waited: that saves time to act in, not money"
    yield f"  saved          ${savings['saved']}, {savings['saved_percent']} % of what it would have spent"
    yield f"  spent          ${savings['spent']}; its hard budget of ${budget['limit']} a day says"
    yield f"                 ${budget['spent']} spent and ${budget['held']} still held"


def summary(checks: Checks) -> Iterator[str]:
    yield f"  {checks.checked - len(checks.wrong)} of {checks.checked} checks of the breaker hold"
    yield from (f"    WRONG: {sentence}" for sentence in checks.wrong)


def dry_run(savings: Mapping[str, Any]) -> str:
    """What the night owl's policy, which only observes, would have done."""
    observed = savings["observed"]
    calls = {verdict: found["calls"] for verdict, found in observed["by_decision"].items()}
    done = f"{calls['throttle']} calls wait, switched {calls['switch']} and denied {calls['deny']}"
    return f"the policy of {NIGHT_OWL.name} only observes: it would have let {done}"


def pages(admin_url: str, persona_id: str) -> Mapping[str, str]:
    """Where a person finds all this; a list shows what is over only when it is asked for."""
    controls, persona = f"{admin_url}controls", quote(persona_id)
    return {
        "where it stands, and the red button": f"{controls}/control/?state=all&q={persona}",
        "each step of the runaway": f"{controls}/control/{persona}/change/",
        "what the controls saved": f"{controls}/budget/savings/",
        "every call that was let in": f"{controls}/hold/?state=all&q={persona}",
        "every call that was turned away": f"{controls}/refusal/?q={persona}",
    }


def _calls(account: Account) -> list[Entry]:
    return sorted((entry for entry in account.entries.values() if entry.model), key=lambda entry: entry.timestamp)


def _made(account: Account, start: datetime, end: datetime) -> list[Entry]:
    return [call for call in _calls(account) if start <= call.timestamp < end]


def _step(told: Mapping[str, Any], former_until: datetime | None) -> Step:
    at = datetime.fromisoformat(told["at"])
    return Step(
        level=told["to_level"],
        at=min(at, former_until) if former_until else at,
        per_minute=None if told["per_minute"] is None else int(told["per_minute"]),
        reason=told["reason"],
        until=datetime.fromisoformat(told["expires_at"]) if told["expires_at"] else None,
    )
