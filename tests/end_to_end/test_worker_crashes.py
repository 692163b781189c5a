"""kill -9 of workers while events flow."""

import pytest

from tests.end_to_end import crash_experiment
from tests.end_to_end.crash_experiment import Plan

committed = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])


@committed
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twenty_kills_of_workers_lose_nothing_and_double_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = crash_experiment.run(Plan())

    with capsys.disabled():
        print(f"\n{outcome}")
    assert outcome.kills == 20
    assert outcome.comparison.accepted == 20_000
    assert outcome.comparison.is_exact
    assert outcome.dead_letters == 0
