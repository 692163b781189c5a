"""A loop that obeys is stopped and let in again, on real processes; and what is told of it is checked."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from costs import threads
from costs.models import ApiKey, Scope
from examples.content_pipeline import stopped
from examples.content_pipeline.account import Account
from examples.content_pipeline.personas import PERFECTIONIST
from examples.content_pipeline.readback import Ledger
from examples.content_pipeline.runaway import Runaway
from examples.content_pipeline.simulated_openai import simulated_openai
from examples.content_pipeline.stopped import WALKED, Breaker
from tests.controls.conftest import close_decisions
from tests.end_to_end.watch import SWEEP_SECONDS, booker, watcher
from tests.processes import beat, web

RUN = "test"
POLICY = stopped.POLICY | {"stay_seconds": 3, "calm_seconds": 2, "pause_seconds": 4}
WATCHED = {"FINOPS_ANOMALY_CHECK_INTERVAL_SECONDS": SWEEP_SECONDS}
SECONDS = 60

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "inbox", "decisions"]),
    pytest.mark.slow,
    pytest.mark.timeout(240),
]


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """The API of running processes: a web server, a worker that books, one that watches, a beat."""
    _, key = ApiKey.issue(name="demo", scopes=Scope.values, source="default")
    with ExitStack() as stack:
        server = stack.enter_context(web())
        others = [stack.enter_context(each) for each in (booker(WATCHED), watcher(WATCHED), beat(**WATCHED))]
        ledger = Ledger(server.url, key)
        yield ledger
        ledger.close()
        threads.close_shared()
        close_decisions()
        for process in others:
            # To shut down in an orderly way takes them longer than the test.
            process.kill()


def test_a_runaway_is_throttled_switched_paused_and_let_in_again_and_the_money_is_exact(ledger: Ledger) -> None:
    account, started = Account(), datetime.now(UTC)
    breaker = Breaker(ledger, PERFECTIONIST.id_in(RUN), POLICY)
    budget_id = breaker.prepare()
    runaway = Runaway(RUN, PERFECTIONIST, account, breaker.level)

    with simulated_openai() as base_url:
        runaway.loop(base_url, SECONDS, shown)
        runaway.normal(base_url, 10, SECONDS, shown)
        runaway.wait("closed", SECONDS, shown)
        runaway.normal(base_url, 1, SECONDS, shown)
    found = stopped.outcome(breaker, budget_id, account, started)

    print("\n".join([*stopped.timeline(stopped.phases(found.checks.steps, account)), *stopped.saved(found)]))
    assert [step.level for step in found.checks.steps] == WALKED
    assert found.checks.wrong == []
    assert Decimal(found.savings["by_kind"]["switched"]["saved"]) > 0
    assert found.savings["by_kind"]["denied"]["calls"] == len(runaway.skipped)


def shown(seconds: int) -> None:
    """Nobody looks."""
