"""Everything works through PgBouncer in transaction mode, where a connection is lent for one transaction."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from decimal import Decimal
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psycopg
import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse

from anomalies.models import Anomaly
from controls.models import Budget, Hold
from costs.models import ApiKey, CostEvent, Scope
from costs.verify import verify
from tests.end_to_end.http import Producer
from tests.end_to_end.producers import wait_until_booked
from tests.end_to_end.test_controls_outages import make_budget
from tests.pgbouncer import PgBouncer, pgbouncer
from tests.processes import WebProcess, beat, web, worker
from tests.servers import wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "inbox"]),
    pytest.mark.slow,
    pytest.mark.timeout(180),
]

PERSONA = "ai_jesus"
PRODUCERS, EVENTS_OF_EACH = 32, 20
CENT = Decimal("0.01")
POOL, DECISION_POOL = 4, 2
ACCEPTED = (202, 200)
BACK_SECONDS = 5
# In the logs of our processes, where something was lost between two transactions.
TROUBLE = ("Traceback", "prepared statement", "[error", "OperationalError")


class Session(NamedTuple):
    """What a transaction finds in the connection that it is lent; the defaults are those of a new one."""

    statement_timeout: str = "1min"
    lock_timeout: str = "10s"
    time_zone: str = "UTC"
    isolation: str = "read committed"
    search_path: str = '"$user", public'
    role: str = "none"
    triggers: str = "origin"
    prepared_statements: int = 0
    advisory_locks: int = 0
    temporary_tables: int = 0


SESSION = """
    SELECT current_setting('statement_timeout'), current_setting('lock_timeout'), current_setting('TimeZone'),
        current_setting('default_transaction_isolation'), current_setting('search_path'), current_setting('role'),
        current_setting('session_replication_role'), (SELECT count(*) FROM pg_prepared_statements),
        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
        (SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND pg_table_is_visible(oid))
"""


def sessions(bouncer: PgBouncer) -> set[Session]:
    """Of all connections to Postgres that PgBouncer holds: each transaction that stays open takes another one."""
    with ExitStack() as stack:
        held = [stack.enter_context(psycopg.connect(bouncer.url, connect_timeout=5)) for _ in bouncer.show("SERVERS")]
        return {Session(*row) for connection in held if (row := connection.execute(SESSION).fetchone())}


@pytest.fixture
def bouncer() -> Iterator[PgBouncer]:
    with pgbouncer() as running:
        yield running


class Caller(Producer):
    """A producer of PERSONA's posts, each of which has one call."""

    def decide(self, post_id: str) -> dict[str, Any]:
        call = {"persona_id": PERSONA, "post_id": post_id, "model": "gpt-4o", "operation": "draft"}
        tokens = {"estimated_tokens": {"input_tokens": 100, "output_tokens": 50}}
        status, decision = self.ask("POST", "/controls/decision", call | tokens)
        assert status == 200
        return decision

    def pay(self, post_id: str, hold_id: str | None = None) -> int:
        """Report the call's cost, which settles its hold; the status of the answer."""
        names = {"event_id": post_id, "post_id": post_id, "persona_id": PERSONA, "hold_id": hold_id or ""}
        status, _ = self.ask("POST", "/costs/events", names | {"cost_type": "openai_api", "amount": str(CENT)})
        return status

    def produce(self, number: int) -> Counter[int | str]:
        """Decide, then pay, for EVENTS_OF_EACH posts; what was answered how often."""
        heard = Counter[int | str]()
        for turn in range(EVENTS_OF_EACH):
            decision = self.decide(f"{number}-{turn}")
            heard[decision["decision"]] += 1
            heard[self.pay(f"{number}-{turn}", decision.get("hold_id"))] += 1
        return heard


def secret_key() -> str:
    return ApiKey.issue(name="producers", scopes=Scope.values, source="producers")[1]


def produce(server: WebProcess, secret: str) -> Counter[int | str]:
    """All of them at once."""

    def run(number: int) -> Counter[int | str]:
        with closing(Caller(server, secret)) as caller:
            return caller.produce(number)

    with ThreadPoolExecutor(PRODUCERS) as threads:
        return sum(threads.map(run, range(PRODUCERS)), Counter[int | str]())


@contextmanager
def watched(bouncer: PgBouncer) -> Iterator[list[int]]:
    """How many connections the service held, ten times a second."""
    seen, enough = list[int](), threading.Event()

    def look() -> None:
        while not enough.wait(0.1):
            seen.append(bouncer.clients())

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield seen
    finally:
        enough.set()
        watch.join()


def test_events_are_accepted_booked_decided_detected_and_shown(
    bouncer: PgBouncer, capsys: pytest.CaptureFixture[str]
) -> None:
    make_budget(PERSONA, "100", hard=True)
    User.objects.create_superuser("auditor", password="a long enough password")
    browser = Browser()
    browser.force_login(User.objects.get())
    secret, through = secret_key(), bouncer.environment | {"FINOPS_DB_POOL_MAX": str(POOL)}

    with ExitStack() as stack:
        processes = [
            server := stack.enter_context(web(1, **through)),
            stack.enter_context(worker(2, **through)),
            stack.enter_context(beat(**through)),
        ]
        with watched(bouncer) as clients:
            heard = produce(server, secret)
            wait_until_booked(30)
        producer = stack.enter_context(closing(Producer(server, secret)))
        producer.ask(
            "POST", "/costs/events", {"post_id": "dear", "persona_id": PERSONA, "cost_type": "cdn", "amount": "9"}
        )
        wait_until(lambda: Anomaly.objects.filter(persona_id=PERSONA).exists(), 30, lambda: "nothing is detected")
        pages = {name: page(server, browser, reverse(f"admin:{name}")) for name in SHOWN}
        status, ready = producer.ask("GET", "/ready")
        troubles = {word: count for word in TROUBLE if (count := sum(it.count_logged(word) for it in processes))}
    left_behind = sessions(bouncer)

    booked = PRODUCERS * EVENTS_OF_EACH
    with capsys.disabled():
        print(f"\n{booked} calls through PgBouncer: {dict(heard)}, at most {max(clients)} client connections")
    # Who finds all connections for decisions taken is asked to come again; nobody is let in without a hold.
    assert (heard[202], heard["allow"] + heard["throttle"]) == (booked, booked)
    assert heard["allow"] > booked / 2
    assert CostEvent.objects.filter(cost_amount=CENT).count() == booked
    assert verify().drifts == []
    assert Hold.objects.filter(state=Hold.State.SETTLED).count() == heard["allow"]
    assert Budget.objects.get().name == PERSONA
    assert pages == dict.fromkeys(SHOWN, 200)
    assert (status, ready["checks"]["database"]["status"]) == (200, "ok")
    assert troubles == {}
    assert left_behind == {Session()}
    # However many threads ask: the pool of web and the one of decisions, and two connections of each worker and beat.
    assert max(clients) <= POOL + DECISION_POOL + 2 * 4


def test_while_pgbouncer_is_replaced_costs_are_refused_or_booked_once(bouncer: PgBouncer) -> None:
    secret, through = secret_key(), bouncer.environment | {"FINOPS_DB_POOL_MAX": str(POOL)}

    with ExitStack() as stack:
        server = stack.enter_context(web(1, **through))
        stack.enter_context(worker(2, **through))
        caller = stack.enter_context(closing(Caller(server, secret)))
        assert caller.pay("before") == 202
        bouncer.stop()
        assert caller.pay("meanwhile") == 503
        bouncer.start()
        wait_until(lambda: caller.pay("meanwhile") in ACCEPTED, BACK_SECONDS, lambda: "costs are still refused")
        wait_until(lambda: caller.decide("after")["decision"] == "allow", BACK_SECONDS, lambda: "no decision")
        wait_until_booked(30)

    assert sorted(CostEvent.objects.values_list("event_id", flat=True)) == ["before", "meanwhile"]
    assert verify().drifts == []


SHOWN = ("index", "costs_costevent_changelist", "costs_post_changelist", "controls_hold_changelist")


def page(server: WebProcess, browser: Browser, path: str) -> int:
    address = urlsplit(server.url)
    with closing(HTTPConnection(str(address.hostname), address.port, timeout=20)) as connection:
        connection.request("GET", path, headers={"Cookie": f"sessionid={browser.cookies['sessionid'].value}"})
        return connection.getresponse().status
