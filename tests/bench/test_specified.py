"""The load that the specification names: which event is due when, and what is said of it afterwards."""

from collections import Counter, defaultdict
from datetime import UTC, datetime

import pytest

from bench.specified import AT_ONCE, POST_SECONDS, Step, at_once, ended, tracked_steps
from bench.workload import Workload, generated_tokens

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECONDS = 60.0


@pytest.fixture(scope="module")
def steps() -> list[Step]:
    return tracked_steps(Workload(generated_tokens(1000)).events(5_000, at=AT), SECONDS)


def test_in_a_minute_250_posts_end_and_75_are_tracked_at_any_moment(steps: list[Step]) -> None:
    answered = [step.due for step in steps]

    assert ended(steps, answered, SECONDS) == pytest.approx(250, abs=1)
    assert at_once(steps, answered, SECONDS) == pytest.approx(AT_ONCE, rel=0.02)


def test_events_come_one_by_one_and_those_of_a_post_over_its_whole_time(steps: list[Step]) -> None:
    dues = defaultdict(list)
    for step in steps:
        dues[step.fields["post_id"]].append(step.due)
    whole = [post for post in dues.values() if len(post) >= 3 and post[0] >= 0 and post[-1] < SECONDS]

    assert [step.due for step in steps] == sorted(step.due for step in steps)
    assert max(post[-1] - post[0] for post in whole) == pytest.approx(POST_SECONDS)
    assert max(Counter(int(step.due) for step in steps).values()) < 100, "no second has a heap of them"


def test_what_is_answered_late_has_not_ended_in_time(steps: list[Step]) -> None:
    late = [step.due + SECONDS for step in steps]

    assert ended(steps, late, SECONDS) <= 1
    assert at_once(steps, late, SECONDS) > 2 * AT_ONCE
