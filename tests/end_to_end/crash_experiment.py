"""Kill workers while events flow, then count: nothing may be lost, nothing may be booked twice.

`python -m tests.end_to_end` runs it on throw-away servers. The producers are threads here; workers and beat are real
processes, killed with SIGKILL, children and whole workers in turn, at moments that the seed chooses.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from django.db.models.functions import Now

from costs.models import DeadLetter, InboxRow
from tests.end_to_end.account import Account, Comparison, Sent, random_events
from tests.end_to_end.producers import in_threads, shares, track, waiting
from tests.processes import AppProcess, beat, worker
from tests.servers import wait_until

PRODUCERS, WORKERS = 4, 2
# A killed worker's rows wait for the end of its lease, and a later kill may hit the same rows.
BACKLOG_SECONDS = 60
LEASE_SECONDS = 4


@dataclass(frozen=True, slots=True)
class Kill:
    """Hit one worker, or its child, once so many events are accepted."""

    after: int
    kind: str
    place: int


@dataclass(frozen=True, slots=True)
class Plan:
    events: int = 20_000
    duplicates: int = 1_000
    child_kills: int = 14
    worker_kills: int = 6
    seed: int = 240


@dataclass(frozen=True, slots=True)
class Outcome:
    """`orphans` is how many inbox rows a killed worker had claimed, so that another one had to book them."""

    plan: Plan
    kills: int
    orphans: int
    dead_letters: int
    seconds: float
    backlog_seconds: float
    comparison: Comparison

    def __str__(self) -> str:
        return (
            f"{self.plan.events:,} events and {self.plan.duplicates:,} duplicates published, seed {self.plan.seed}\n"
            f"{self.kills} kill -9 of workers, which held {self.orphans:,} claimed rows\n"
            f"{self.comparison}; {self.dead_letters} dead letters\n"
            f"{self.seconds:.1f} s in all, the backlog was gone {self.backlog_seconds:.1f} s after the last event"
        )


class Fleet:
    """Workers of one child each, replaced when they are killed, as a supervisor does it."""

    def __init__(self, size: int) -> None:
        self._running = [self._start() for _ in range(size)]

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *error: object) -> None:
        for stack, _ in self._running:
            stack.close()

    def kill(self, kill: Kill) -> None:
        stack, process = self._running[kill.place]
        if kill.kind == "child":
            process.kill_child()
        else:
            process.kill()
            stack.close()
            self._running[kill.place] = self._start()

    def _start(self) -> tuple[ExitStack, AppProcess]:
        stack = ExitStack()
        return stack, stack.enter_context(worker(1, FINOPS_INBOX_LEASE_SECONDS=str(LEASE_SECONDS)))


class Orphans:
    """Counts rows that are still claimed long after a living worker would have booked them."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def __len__(self) -> int:
        return len(self._seen)

    def look(self) -> None:
        still = Now() + timedelta(seconds=LEASE_SECONDS / 2)
        claimed_a_while_ago = InboxRow.objects.filter(attempts__gt=0, errors=0, leased_until__lt=still)
        self._seen.update(claimed_a_while_ago.values_list("pk", flat=True))


def run(plan: Plan) -> Outcome:
    """Needs Django with a committed, empty database, and a broker."""
    chance = random.Random(plan.seed)
    events = list(random_events(plan.events, chance, prefix="crash"))
    sendings = [*events, *chance.sample(events, plan.duplicates)]
    chance.shuffle(sendings)
    account, orphans, started = Account(), Orphans(), time.monotonic()
    with beat(), Fleet(WORKERS) as fleet, ThreadPoolExecutor(1) as background:
        publishing = background.submit(_publish, sendings, account)
        kills = _kill_all(_kills(plan, chance), fleet, account, publishing, orphans)
        published = publishing.result()
        _wait(lambda: not InboxRow.objects.exists(), orphans)
        drained = time.monotonic()
    return Outcome(
        plan=plan,
        kills=kills,
        orphans=len(orphans),
        dead_letters=DeadLetter.objects.count(),
        seconds=drained - started,
        backlog_seconds=drained - published,
        comparison=account.compare(),
    )


def _publish(sendings: Sequence[Sent], account: Account) -> float:
    """Send everything; returns when the last one was accepted, on the monotonic clock."""

    def publish(share: Sequence[Sent]) -> None:
        for sent in share:
            track(sent, account)

    in_threads(publish, shares(sendings, PRODUCERS))
    return time.monotonic()


def _kills(plan: Plan, chance: random.Random) -> Iterator[Kill]:
    kinds = ["child"] * plan.child_kills + ["worker"] * plan.worker_kills
    chance.shuffle(kinds)
    for number, kind in enumerate(kinds):
        after = plan.events * (number + chance.random()) / len(kinds)
        yield Kill(after=int(after), kind=kind, place=chance.randrange(WORKERS))


def _kill_all(
    kills: Iterable[Kill], fleet: Fleet, account: Account, publishing: Future[float], orphans: Orphans
) -> int:
    """Returns how many processes were killed."""
    done = 0
    for kill in kills:
        _wait(partial(_is_due, kill, account, publishing), orphans)
        fleet.kill(kill)
        done += 1
    return done


def _is_due(kill: Kill, account: Account, publishing: Future[float]) -> bool:
    return publishing.done() or len(account) >= kill.after


def _wait(condition: Callable[[], bool], orphans: Orphans) -> None:
    def holds() -> bool:
        orphans.look()
        return condition()

    wait_until(holds, BACKLOG_SECONDS, waiting)
