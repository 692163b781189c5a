"""What is no decision gets some of a process's threads, and hears so at once when these are stuck."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import RequestFactory

from finops_project.express import LANES, READY_LANES, READY_WAITING, STUCK_SECONDS, WAITING, Bulkhead
from finops_project.local.processes import WEB_THREADS

FACTORY = RequestFactory()


class Hanging:
    """A view that answers once it may, and some paths at once."""

    def __init__(self) -> None:
        self.at_once = {"/health", "/ready"}
        self.may_answer = threading.Event()
        self.inside = threading.Semaphore(0)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path not in self.at_once:
            self.inside.release()
            assert self.may_answer.wait(10)
        return HttpResponse("here")


@pytest.fixture
def view() -> Iterator[Hanging]:
    view = Hanging()
    yield view
    view.may_answer.set()


@pytest.fixture
def threads(view: Hanging) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(WEB_THREADS) as threads:
        yield threads
        view.may_answer.set()


def fill(
    bulkhead: Bulkhead, view: Hanging, threads: ThreadPoolExecutor, *, lanes: int = LANES, path: str = "/costs/events"
) -> list[Callable[[], HttpResponseBase]]:
    """All lanes but none of the rest; what their requests will be answered."""
    under_way = [threads.submit(ask, bulkhead, path) for _ in range(lanes)]
    for _ in under_way:
        assert view.inside.acquire(timeout=5)
    return [future.result for future in under_way]


def ask(bulkhead: Bulkhead, path: str = "/costs/events") -> HttpResponseBase:
    return bulkhead(FACTORY.post(path))


def seconds_of(work: Callable[[], HttpResponseBase]) -> tuple[float, HttpResponseBase]:
    started = time.monotonic()
    response = work()
    return time.monotonic() - started, response


class TestTheBulkhead:
    def test_as_many_as_there_are_lanes_are_served(self, view: Hanging, threads: ThreadPoolExecutor) -> None:
        answers = fill(Bulkhead(view), view, threads)

        view.may_answer.set()

        assert {answer().status_code for answer in answers} == {200}

    def test_one_more_waits_and_then_hears_that_nothing_moves(self, view: Hanging, threads: ThreadPoolExecutor) -> None:
        bulkhead = Bulkhead(view)
        fill(bulkhead, view, threads)

        waited, response = seconds_of(lambda: ask(bulkhead))

        assert isinstance(response, HttpResponse)
        assert STUCK_SECONDS * 0.8 < waited < STUCK_SECONDS + 0.5
        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
        assert response.headers["Content-Type"] == "application/problem+json"
        assert "does not get on" in json.loads(response.content)["detail"]

    def test_the_following_ones_hear_it_at_once(self, view: Hanging, threads: ThreadPoolExecutor) -> None:
        bulkhead = Bulkhead(view)
        fill(bulkhead, view, threads)
        ask(bulkhead)

        waited, response = seconds_of(lambda: ask(bulkhead))

        assert (response.status_code, waited < STUCK_SECONDS / 2) == (503, True)

    def test_while_others_come_out_nobody_is_turned_away(self, view: Hanging, threads: ThreadPoolExecutor) -> None:
        bulkhead = Bulkhead(view)
        fill(bulkhead, view, threads)

        waiting = [threads.submit(ask, bulkhead) for _ in range(WAITING)]
        time.sleep(STUCK_SECONDS / 3)
        view.may_answer.set()

        assert {future.result().status_code for future in waiting} == {200}

    def test_more_than_may_wait_hear_at_once_to_come_again(self, view: Hanging, threads: ThreadPoolExecutor) -> None:
        bulkhead = Bulkhead(view)
        fill(bulkhead, view, threads)
        waiting = [threads.submit(ask, bulkhead) for _ in range(WAITING)]
        time.sleep(STUCK_SECONDS / 10)

        waited, response = seconds_of(lambda: ask(bulkhead))
        view.may_answer.set()

        assert (response.status_code, waited < STUCK_SECONDS / 2) == (503, True)
        assert {future.result().status_code for future in waiting} == {200}

    def test_once_a_lane_is_free_again_it_is_used(self, view: Hanging, threads: ThreadPoolExecutor) -> None:
        bulkhead = Bulkhead(view)
        answers = fill(bulkhead, view, threads)
        assert ask(bulkhead).status_code == 503

        view.may_answer.set()
        assert all(answer().status_code == 200 for answer in answers)

        assert [ask(bulkhead).status_code for _ in range(2 * LANES)] == [200] * 2 * LANES

    @pytest.mark.parametrize("path", ["/health", "/ready"])
    def test_whether_the_process_lives_and_is_ready_is_told_all_the_same(
        self, path: str, view: Hanging, threads: ThreadPoolExecutor
    ) -> None:
        bulkhead = Bulkhead(view)
        fill(bulkhead, view, threads)
        threads.submit(ask, bulkhead)

        waited, response = seconds_of(lambda: ask(bulkhead, path))

        assert (response.status_code, waited < STUCK_SECONDS / 2) == (200, True)

    def test_who_asks_over_and_over_whether_it_is_ready_takes_few_threads(
        self, view: Hanging, threads: ThreadPoolExecutor
    ) -> None:
        view.at_once = set()
        bulkhead = Bulkhead(view)
        fill(bulkhead, view, threads, lanes=READY_LANES, path="/ready")
        waiting = [threads.submit(ask, bulkhead, "/ready") for _ in range(READY_WAITING)]
        time.sleep(STUCK_SECONDS / 10)

        waited, response = seconds_of(lambda: ask(bulkhead, "/ready"))
        view.may_answer.set()

        assert (response.status_code, waited < STUCK_SECONDS / 2) == (503, True)
        assert {future.result().status_code for future in waiting} == {200}

    def test_a_view_that_fails_gives_its_lane_back(self) -> None:
        def fails(request: HttpRequest) -> HttpResponse:
            raise ZeroDivisionError

        bulkhead = Bulkhead(fails)

        for _ in range(2 * LANES):
            with pytest.raises(ZeroDivisionError):
                ask(bulkhead)


def test_threads_are_left_for_decisions() -> None:
    assert WEB_THREADS - LANES - WAITING - READY_LANES - READY_WAITING == 12
