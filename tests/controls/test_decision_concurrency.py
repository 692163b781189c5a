"""Many who ask at once, on real connections, and some who never come back: no budget is ever overspent."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError
from django.db.models import F
from django.utils.timezone import now

from controls import budgets, decisions, holds, postgres
from controls.estimates import Call
from controls.models import Budget, BudgetPeriod, Control, Hold
from controls.verdicts import Decision, Reason, Verdict
from controls.verify import calendars, drifts, hold_drifts
from costs import drain, ingest
from costs.events import encode
from costs.models import DEFAULT_SOURCE, CostEvent, InboxRow, Scope
from finops_project.local.home import SOURCE
from tests.controls.client_process import INEXACT, MOST, OUTPUT_TOKENS, a_call, pay
from tests.costs.http import Caller
from tests.end_to_end.account import Account
from tests.end_to_end.producers import in_threads
from tests.processes import environment
from tests.servers import wait_until

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "decisions", "inbox"])
ZERO, HOUR = Decimal(0), timedelta(hours=1)
PROCESSES, CLIENTS, KILLED = 10, 50, 5
LIFE_SECONDS = 5
# The clocks of Postgres and of this process may differ by a little.
LIFE, SLACK = timedelta(seconds=LIFE_SECONDS), timedelta(seconds=2)
THREADS = 16
SECONDS = float(os.environ.get("FINOPS_TEST_CONTROLS_SECONDS", "5"))


def hard_budget(limit: str, **fields: Any) -> Budget:
    budget = Budget(name="hard", period="monthly", limit=Decimal(limit), hard=True, **fields)
    made = budgets.create(budget, actor="ann", at=now())
    # As in a period that nobody has begun ahead: whoever comes first makes the row.
    made.periods.all().delete()
    return made


def all_drifts() -> list[Any]:
    lines = [drift for calendar in calendars() for drift in drifts(calendar, at=now())]
    return [*lines, *hold_drifts()]


class TestFiveHundredClientsOnOneDollar:
    @pytest.mark.slow
    @pytest.mark.timeout(240)
    def test_half_of_them_killed_settle_a_dollar_at_most_and_leave_nothing_reserved(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        budget, account = hard_budget("1"), Counter[str]()

        with client_processes() as processes:
            for process in processes:
                process.begin()
            wait_until(lambda: Hold.objects.count() >= 95, 30, lambda: f"{Hold.objects.count()} holds")
            for process in processes[:KILLED]:
                process.kill()
            killed_at = now()
            for process in processes:
                process.wait()
                account.update(process.told())
        drain.drain(at=now())
        paid, abandoned = spent(budget), list(Hold.objects.open())

        left = int((budget.limit - paid) / MOST)
        expired_at = max(hold.expires_at for hold in abandoned)
        back = _let_in_again(left, expired_at) - killed_at
        for hold in Hold.objects.open():
            pay_in_full(hold)
        drain.drain(at=now())

        with capsys.disabled():
            print(f"\n500 clients on $1 at $0.01 a call, 250 killed: ${paid:f} settled; {dict(account)}")
            print(f"{len(abandoned)} holds were abandoned, which expire after {LIFE_SECONDS} s")
            print(f"{back.total_seconds():.1f} s after the kill there was room for {left} calls again")
            print(f"and in the end ${spent(budget):f} settled by {CostEvent.objects.count()} calls")
        assert paid <= 1
        assert all(hold.expires_at - hold.created_at == LIFE for hold in abandoned)
        assert ZERO <= budget.limit - spent(budget) < MOST
        assert spent(budget) == CostEvent.objects.total()
        assert exact_decision().reason == Reason.BUDGET
        assert not Hold.objects.open().exists()
        assert not all_drifts()


def spent(budget: Budget) -> Decimal:
    found: Decimal = budget.period_at(now()).spent
    return found


def _let_in_again(count: int, expired_at: datetime) -> datetime:
    """Nobody sweeps: it must be enough that somebody asks. Returns when the last of them was let in.

    Raises when one is refused although all holds have expired, and when one more than these is let in.
    """
    let_in = 0
    while let_in < count:
        asked_at = now()
        decision = decisions.decide(a_call(HOUR, post_id="again"), at=asked_at)
        let_in += decision.is_let_in
        expired = asked_at > expired_at + SLACK
        assert decision.is_let_in or decision.reason in INEXACT or not expired, f"{let_in} of {count}: {decision}"
        if not decision.is_let_in:
            time.sleep(0.05)
    last = now()
    assert exact_decision().decision == Verdict.DENY
    return last


def exact_decision() -> Decision:
    """On a busy machine an answer may come too late, or none be awaited for a second."""
    for _ in range(50):
        decision = decisions.decide(a_call(HOUR), at=now())
        if decision.reason not in INEXACT:
            break
        time.sleep(0.1)
    return decision


def pay_in_full(hold: Hold) -> None:
    decision = Decision(Verdict.ALLOW, hold.model, Reason.WITHIN_BUDGET, "", hold.amount, hold_id=hold.pk)
    assert pay(decision, OUTPUT_TOKENS) == hold.amount


@dataclass
class Clients:
    """A process of clients that wait for the word to begin."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()

    def wait(self) -> None:
        self.process.wait(60)
        self._reader.join(10)

    def told(self) -> Iterator[str]:
        """The decisions that they heard, and how often they had to ask again."""
        for line in self.lines:
            # The last line of a killed process may be half a line.
            if line.endswith("\n") and line.startswith("{"):
                said = json.loads(line)
                yield from [f"{said['decision']} {said['reason']}"] if "decision" in said else ["paid"]
                yield from ["asked again"] * (said.get("tries", 1) - 1)

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)


@contextmanager
def client_processes() -> Iterator[list[Clients]]:
    command = [sys.executable, "-m", "tests.controls.client_process", str(CLIENTS), str(LIFE_SECONDS)]
    with ExitStack() as stack:
        started = []
        for _ in range(PROCESSES):
            process = subprocess.Popen(
                command,
                cwd=SOURCE,
                env=environment("command"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            started.append(Clients(process))
        wait_until(lambda: all(clients.lines for clients in started), 90, lambda: "the clients do not start")
        yield started


MODELS = ("gpt-4o", "gpt-4o", "gpt-4o-mini", "nobody-knows-this")
PERSONAS = ("a", "b", "c")
TOKENS = {"input_tokens": 1000, "output_tokens": 500}


class Trouble:
    """Threads that reserve, and then settle, report without a price, release, extend, or are never seen again."""

    def __init__(self, seconds: float) -> None:
        self.ends = time.monotonic() + seconds
        self.account, self.counts = Account(), Counter[str]()
        self._counting = threading.Lock()

    def run(self, seed: int) -> None:
        dice = random.Random(seed)
        deeds: list[Callable[[random.Random, Decision, Call], None]] = [
            self.settle,
            self.settle,
            self.settle_twice,
            self.report_without_a_price,
            self.release,
            self.extend_and_release,
            self.crash,
        ]
        while time.monotonic() < self.ends:
            call = self._call(dice)
            decision = decisions.decide(call, at=now())
            self._count(f"{decision.decision} {decision.reason}")
            if decision.is_let_in and decision.hold_id:
                dice.choice(deeds)(dice, decision, call)
            if dice.random() < 0.05:
                drain.drain(at=now())

    def settle(self, dice: random.Random, decision: Decision, call: Call) -> None:
        self._report(decision, call, output_tokens=dice.randrange(501))

    def settle_twice(self, dice: random.Random, decision: Decision, call: Call) -> None:
        for _ in range(2):
            self._report(decision, call, output_tokens=500)

    def report_without_a_price(self, dice: random.Random, decision: Decision, call: Call) -> None:
        # So few tokens that the estimate is more than they can cost.
        self._report(decision, call, output_tokens=0, input_tokens=1, model="without-a-price")
        if dice.random() < 0.8 and decision.hold_id:
            drain.drain(at=now())
            holds.write_off(decision.hold_id, actor="ann", at=now())

    def release(self, dice: random.Random, decision: Decision, call: Call) -> None:
        self._end(lambda hold_id: holds.release(hold_id, at=now()), decision)

    def extend_and_release(self, dice: random.Random, decision: Decision, call: Call) -> None:
        self._end(lambda hold_id: holds.extend(hold_id, 2 * HOUR, at=now()), decision)
        self.release(dice, decision, call)

    def _end(self, end: Callable[[UUID], Hold], decision: Decision) -> None:
        assert decision.hold_id
        try:
            with postgres.connected():
                end(decision.hold_id)
        except (OperationalError, postgres.Busy, holds.Closed):
            # No connection was free in time, or it came too late: the hold expires.
            self._count("left to expire")

    def crash(self, dice: random.Random, decision: Decision, call: Call) -> None:
        self._count("crashed")

    def _call(self, dice: random.Random) -> Call:
        life = timedelta(seconds=dice.randrange(3, 6))
        persona, model = dice.choice(PERSONAS), dice.choice(MODELS)
        return Call(model, 1000, 500, persona_id=persona, post_id=str(dice.random()), life=life)

    def _report(
        self, decision: Decision, call: Call, *, output_tokens: int, input_tokens: int = 1000, model: str = ""
    ) -> None:
        model = model or decision.model
        event_id = f"call-{decision.hold_id}"
        event = {
            "event_id": event_id,
            "cost_type": "openai_api",
            "model": model,
            "persona_id": call.persona_id,
            "usage": {"input_tokens": input_tokens, "output_tokens": output_tokens},
            "hold_id": str(decision.hold_id),
        }
        ingest.accept([encode(event)], source=DEFAULT_SOURCE, at=now())
        self._count("reported")
        prices = {"gpt-4o": (Decimal("2.5"), Decimal(10)), "gpt-4o-mini": (Decimal("0.15"), Decimal("0.6"))}
        price_in, price_out = prices.get(model, (ZERO, ZERO))
        self.account.note(event_id, (input_tokens * price_in + output_tokens * price_out) / 1_000_000)

    def _count(self, what: str) -> None:
        with self._counting:
            self.counts[what] += 1


class Watch:
    """Looks at committed snapshots all the while, sweeps, and lets budgets grow, so that a little is always left."""

    def __init__(self, trouble: Trouble, made: list[Budget]) -> None:
        self._trouble, self._made = trouble, made
        self.snapshots = 0

    def run(self, _: int) -> None:
        while time.monotonic() < self._trouble.ends:
            assert not hold_drifts()
            assert not overspent()
            self.snapshots += 1
            holds.expire(now())
            for budget in self._made:
                budget.limit += Decimal("0.02")
                budgets.revise(budget.pk, {"limit": budget.limit}, actor="ann", at=now())
            time.sleep(0.1)


def overspent() -> list[BudgetPeriod]:
    """Nothing is booked beyond what was reserved, so there is none at any moment, and not only at admission."""
    committed = F("spent") + F("held") + F("pending")
    return list(
        BudgetPeriod.objects.filter(budget__hard=True).annotate(sum=committed).filter(sum__gt=F("budget__limit"))
    )


class TestSixteenThreads:
    @pytest.mark.timeout(180)
    def test_whatever_they_do_all_sums_hold(self, capsys: pytest.CaptureFixture[str]) -> None:
        made = [hard_budget("0.05"), hard_budget("0.02", persona_id="a"), hard_budget("0.02", model="gpt-4o")]
        hard_budget("100", persona_id="b", timezone="Asia/Kathmandu")
        trouble = Trouble(SECONDS)
        watch = Watch(trouble, made)

        in_threads(lambda work: work(), [*[_with(trouble.run, seed) for seed in range(THREADS)], _with(watch.run, 0)])
        drain.drain(at=now(), seconds=60)
        holds.expire(now() + 3 * HOUR, most=100_000)

        comparison = trouble.account.compare()
        unpriced = set(CostEvent.objects.filter(cost_amount=None).values_list("event_id", flat=True))
        with capsys.disabled():
            print(
                f"\n{THREADS} threads, {SECONDS:g} s, {watch.snapshots} snapshots: {dict(trouble.counts)}; {comparison}"
            )
            print(dict(Counter(Hold.objects.values_list("state", flat=True))))
        assert not InboxRow.objects.exists()
        assert replace(comparison, wrong=comparison.wrong - unpriced).is_exact, str(comparison)
        assert not all_drifts()
        assert not Hold.objects.open().exists()
        assert not BudgetPeriod.objects.exclude(held=0).exists()
        assert not overspent()
        assert trouble.counts["allow within_budget"] > SECONDS


def _with(work: Callable[[int], None], number: int) -> Callable[[], None]:
    return lambda: work(number)


class TestTheThrottle:
    def test_it_is_exact_across_threads(self) -> None:
        per_minute, seconds = 1200, 2.0
        Control.objects.create(
            persona_id="a", level="throttle", per_minute=per_minute, since=now(), expires_at=now() + HOUR
        )
        began, ends = time.monotonic(), time.monotonic() + seconds

        def ask_on(number: int) -> None:
            while time.monotonic() < ends:
                decisions.decide(Call("gpt-4o", 10, 10, persona_id="a", post_id=str(number)), at=now())

        in_threads(ask_on, range(8))
        took = time.monotonic() - began

        times = sorted(Hold.objects.values_list("created_at", flat=True))
        assert all(later - earlier >= timedelta(seconds=60 / per_minute) for earlier, later in pairwise(times))
        assert len(times) <= per_minute / 60 * took + 1
        assert len(times) >= per_minute / 60 * seconds / 2, "the rate is used"


class TestManyKeys:
    def test_who_comes_with_a_key_of_his_own_makes_nobody_wait_for_a_connection(self) -> None:
        callers = [Caller.with_key(scopes=[Scope.DECISIONS_WRITE], source=f"s{number}") for number in range(8)]
        start = threading.Barrier(len(callers))

        def ask(caller: Caller) -> list[str]:
            start.wait()
            asked = {"model": "gpt-4o", "estimated_tokens": TOKENS}
            return [caller.post("/controls/decision", asked)[1]["reason"] for _ in range(5)]

        answers = [future.result() for future in in_threads(ask, callers)]

        assert answers == [["no_budget"] * 5] * len(callers)


def test_a_call_of_these_clients_costs_a_cent_at_most() -> None:
    assert decisions.decide(a_call(HOUR), at=now()).estimate == MOST
