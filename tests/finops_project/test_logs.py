"""What processes log: lines that a machine reads, with the ids that belong to them, and without secrets."""

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from celery.signals import task_postrun, task_prerun
from django.conf import settings
from django.db import connection
from django.http import HttpResponse
from django.test import Client

from costs.tasks import track_cost
from finops_project import access, logs, task_lines
from finops_project.express import ExpressLane
from finops_project.local.home import SOURCE
from finops_project.local.processes import FLOWER_COLUMNS
from tests.costs.http import Caller

CANARY = "canary-7f3a9c"
READ = logs.READ_PER_TOLD * logs.LONGEST_TEXT


class Book:
    """Everything that this process logs, as a container's log would have it."""

    def __init__(self, form: str = logs.JSON, secrets: tuple[str, ...] = ()) -> None:
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.handler.setFormatter(logs.formatter(form, secrets))
        self.handler.addFilter(logs.Once())

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == "request"]


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A logger of its own, whose lines go nowhere else."""
    logger = logging.getLogger("costs.of_the_test")
    logger.propagate = False
    structlog.contextvars.clear_contextvars()
    yield logger
    logger.propagate = True
    logger.handlers.clear()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def book() -> Iterator[Book]:
    """All lines of the process."""
    book = Book()
    root = logging.getLogger()
    before = root.level
    root.addHandler(book.handler)
    # As in a web process; commands, and so tests, are less talkative.
    root.setLevel(logging.INFO)
    yield book
    root.setLevel(before)
    root.removeHandler(book.handler)


def written(log: logging.Logger, *, form: str = logs.JSON, secrets: tuple[str, ...] = ()) -> Book:
    book = Book(form, secrets)
    log.handlers = [book.handler]
    log.setLevel(logging.DEBUG)
    return book


class TestALine:
    def test_it_begins_with_when_how_bad_what_and_where(self, log: logging.Logger) -> None:
        book = written(log)

        log.warning("accepting %d events took %d ms", 3, 700)

        assert re.match(
            r'\{"timestamp": "20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "level": "warning", "event"', book.text
        )
        assert book.lines[0]["event"] == "accepting 3 events took 700 ms"
        assert book.lines[0]["logger"] == "costs.of_the_test"

    def test_it_tells_the_ids_that_it_is_given(self, log: logging.Logger) -> None:
        book = written(log)

        log.info("set aside", extra={"event_id": "e-1", "post_id": "p-1", "persona_id": "ai_jesus", "events": 2})

        told = book.lines[0]
        assert (told["event_id"], told["post_id"], told["persona_id"], told["events"]) == ("e-1", "p-1", "ai_jesus", 2)

    def test_it_tells_nothing_else_that_a_library_gives(self, log: logging.Logger) -> None:
        book = written(log)

        log.info("received", extra={"data": {"kwargs": CANARY}, "request": CANARY, "server_time": CANARY})

        assert CANARY not in book.text

    def test_it_tells_the_ids_that_are_bound_to_its_context(self, log: logging.Logger) -> None:
        book = written(log)

        with structlog.contextvars.bound_contextvars(task_id="t-1", task="costs.tasks.track_cost"):
            log.info("booked")

        assert (book.lines[0]["task_id"], book.lines[0]["task"]) == ("t-1", "costs.tasks.track_cost")

    @pytest.mark.parametrize("form", [logs.JSON, logs.PRETTY])
    def test_what_callers_send_begins_no_line_of_its_own(self, log: logging.Logger, form: str) -> None:
        book = written(log, form=form)
        forged = 'p\n2026-01-01T00:00:00Z [error] forged\r\x1b[2J\u2028{"event": "forged"}'

        log.warning("a post %s is dear", forged, extra={"post_id": forged, "persona_id": {"nested": forged}})

        assert len(book.text.splitlines()) == 1
        assert "\x1b" not in book.text

    def test_half_a_character_is_no_reason_to_stay_silent(self, log: logging.Logger) -> None:
        book = written(log)

        log.warning("a post", extra={"post_id": "\ud800"})

        assert book.lines[0]["post_id"] == "\ud800"

    def test_a_long_text_is_cut(self, log: logging.Logger) -> None:
        book = written(log)

        log.warning("x" * 100_000)

        assert len(book.lines[0]["event"]) == logs.LONGEST_TEXT + 1

    def test_in_a_terminal_a_person_reads_it(self, log: logging.Logger) -> None:
        book = written(log, form=logs.PRETTY)

        log.warning("accepting %d events took %d ms", 3, 700, extra={"request_id": "r-1"})

        assert book.text.rstrip().endswith(
            "[warning  ] accepting 3 events took 700 ms [costs.of_the_test] request_id=r-1"
        )


class TestAnException:
    def test_its_traceback_is_one_field(self, log: logging.Logger) -> None:
        book = written(log)

        try:
            raise ValueError("broken")
        except ValueError:
            log.exception("it failed")

        (line,) = book.lines
        assert line["exception"].startswith("Traceback (most recent call last):\n  File ")
        assert line["exception"].endswith("ValueError: broken")

    def test_of_its_message_only_the_first_line_comes_out(self, log: logging.Logger) -> None:
        book = written(log)

        try:
            try:
                raise KeyError("cause")
            except KeyError as error:
                raise ValueError(f"null value violates a constraint\nDETAIL: Failing row ({CANARY})") from error
        except ValueError:
            log.exception("it failed")

        assert CANARY not in book.text
        assert "KeyError: 'cause'\n\nThis led to:\n\nTraceback" in book.lines[0]["exception"]
        assert "ValueError: null value violates a constraint" in book.lines[0]["exception"]


class TestSecrets:
    @pytest.mark.parametrize(
        "text",
        [
            f"Authorization: Bearer {CANARY}",
            f"sent with bearer {CANARY}",
            f"postgresql://finops:{CANARY}@db:5432/finops does not answer",
            f"redis://:{CANARY}@cache:6379/0",
            f"https://hooks.slack.com/services/T000/B000/{CANARY}",
            f"POST https://hooks.example/in?key={CANARY} failed",
            f"password={CANARY}",
            f"conninfo host=db password='{CANARY} and more'",
            f'{{"api_key": "{CANARY}", "model": "gpt-4o"}}',
            f"FINOPS_PAGERDUTY_ROUTING_KEY={CANARY}",
            f"the key fin_{CANARY} is unknown",
        ],
    )
    def test_they_are_recognised_in_a_text(self, log: logging.Logger, text: str) -> None:
        book = written(log)

        log.warning(text)
        log.warning("%s", text)
        log.warning("told", extra={"model": text})

        assert CANARY not in book.text
        assert len(book.lines) == 3

    @pytest.mark.parametrize(
        "name",
        [
            *("authorization", "Authorization", "password", "db_password", "secret", "client_secret", "token"),
            *("access_token", "webhook_url", "dsn", "api_key", "apikey", "x-api-key", "routing_key", "cookie"),
            *("usage", "metadata", "payload", "body", "kwargs"),
        ],
    )
    def test_they_are_recognised_by_their_name(self, name: str) -> None:
        scrub = logs.Scrubber()

        told = scrub(None, "info", {"event": "x", name: CANARY, "deeper": [{name: CANARY}]})

        assert CANARY not in str(told)

    def test_those_that_the_process_knows_are_recognised_anywhere(self, log: logging.Logger) -> None:
        book = written(log, secrets=(CANARY, "short", ""))

        log.warning("the vendor said %s, in short", CANARY)

        assert book.lines[0]["event"] == "the vendor said ***, in short"

    def test_a_secret_at_the_end_of_what_is_read_is_not_told_in_part(self) -> None:
        scrub = logs.Scrubber([CANARY])
        # Once it is hidden, what stood at the end of the text stands at its beginning.
        long_secret = "password=" + "x" * READ

        for secret in (CANARY, f"db://finops:{CANARY}@db", f"password='one {CANARY}'"):
            for place in range(len(secret)):
                text = f"{long_secret[: READ - place - 1]} {secret} and more"

                assert CANARY[:3] not in scrub.text(text)

    @pytest.mark.parametrize(
        ("secret", "part"),
        [
            (f"db://finops:{CANARY}@db", CANARY[:3]),
            (f"password='one {CANARY}'", CANARY[:3]),
            (settings.SECRET_KEY, settings.SECRET_KEY[:3]),
        ],
    )
    def test_nor_at_the_end_of_an_exceptions_message(self, log: logging.Logger, secret: str, part: str) -> None:
        book = written(log)

        for place in range(len(secret)):
            log.warning("it failed", exc_info=ValueError("." * (logs.LONGEST_REASON - place - 1) + f" {secret}"))

        assert part not in book.text

    @pytest.mark.parametrize(
        "text", ["input_tokens: 5", "5 tokens", "the key local (fin_abc123…)", "tokens=7", "Listening at: http://h:80"]
    )
    def test_what_is_none_stays(self, log: logging.Logger, text: str) -> None:
        book = written(log)

        log.warning(text)

        assert book.lines[0]["event"] == text


class TestWhatAnybodySends:
    """Patterns look at a bounded text, or one long header would hold up a web process for minutes."""

    def test_only_its_beginning_is_read(self) -> None:
        told = logs.Scrubber().text("password=" + "x" * READ + " and what follows")

        assert told == "…"

    @pytest.mark.parametrize(
        "piece",
        [
            *("a", "a:", "'", '"', " ", "_", "a_", "-", "://", "a://", "http://", "http://a"),
            *("token", "token ", "token= ", "token='", "bearer ", "fin_", "fin_-", "\\", "\n", "\x00"),
        ],
    )
    def test_all_of_it_is_told_in_a_short_line(self, log: logging.Logger, piece: str) -> None:
        book = written(log, form=logs.PRETTY)
        text = (piece * 400_000)[:400_000]

        log.warning(text, extra={"model": text}, exc_info=ValueError(text))

        # A control character is written as four.
        assert len(book.text) < 4 * (2 * logs.LONGEST_TEXT + logs.LONGEST_REASON) + 500

    @pytest.mark.django_db
    def test_a_long_name_of_a_host_is_told_in_a_short_line(self, book: Book, client: Client) -> None:
        client.get("/health", headers={"Host": "a" * 400_000})

        (line,) = [line for line in book.lines if line["logger"] == "django.security.DisallowedHost"]
        assert len(line["event"]) == logs.LONGEST_TEXT + 1


class TestTheImage:
    """In a container the web server's and Celery's own lines are JSON, too."""

    DOCKERFILE = (SOURCE / "Dockerfile").read_text()

    def test_it_has_the_web_servers_lines_in_json(self) -> None:
        (path,) = re.findall(r"GRANIAN_LOG_CONFIG=/app/(\S+)", self.DOCKERFILE)
        config = json.loads((SOURCE / path).read_text())
        line = logging.Formatter(config["formatters"]["line"]["fmt"], config["formatters"]["line"]["datefmt"])

        told = json.loads(line.format(logging.makeLogRecord({"msg": "Started worker-1", "levelname": "INFO"})))

        assert told.keys() == {"timestamp", "level", "event", "logger"}
        assert config["loggers"].keys() == {"_granian", "granian.access"}

    def test_it_has_no_banner_and_shows_the_same_columns_of_tasks(self) -> None:
        assert "CELERY_QUIET=1" in self.DOCKERFILE
        assert f"FLOWER_TASKS_COLUMNS={FLOWER_COLUMNS} " in self.DOCKERFILE


class TestCelerysLines:
    def test_a_failed_task_is_told_without_its_arguments(self) -> None:
        book, trace = Book(), logging.getLogger("celery.app.trace")
        trace.addHandler(book.handler)
        context = {"name": "costs.tasks.track_cost", "id": "t-1", "exc": f"ValueError('x\\n{CANARY}')", "args": CANARY}

        try:
            raise ValueError(f"x\n{CANARY}")
        except ValueError:
            trace.error("Task %(name)s[%(id)s] failed: %(exc)s", context, exc_info=True, extra={"data": context})
        finally:
            trace.removeHandler(book.handler)

        assert book.lines[0]["event"] == "task failed"
        assert book.lines[0]["exception"].endswith("ValueError: x")
        assert CANARY not in book.text

    def test_of_a_message_that_nobody_knows_the_body_is_not_told(self) -> None:
        book, consumer = Book(), logging.getLogger("celery.worker.consumer.consumer")
        consumer.addHandler(book.handler)

        consumer.error("\nReceived unregistered task of type %s.\nThe full contents was: %r", "a.b", CANARY)
        consumer.removeHandler(book.handler)

        assert book.lines[0]["event"] == "Received unregistered task of type a.b."

    def test_what_beat_sends_every_second_is_no_line(self) -> None:
        record = logging.makeLogRecord({"name": "celery.beat", "msg": "Scheduler: Sending due task %s (%s)"})

        assert not logs.Once().filter(record)
        assert logs.Once().filter(logging.makeLogRecord({"name": "celery.beat", "msg": "beat: Starting..."}))


class TestATask:
    @pytest.fixture
    def task(self, log: logging.Logger) -> Iterator[str]:
        """The id of a task; it has ended when the next test begins."""
        assert task_lines, "it listens to Celery's signals"
        yield "t-1"
        task_postrun.send(sender=track_cost, task_id="t-1", state="FAILURE")

    def test_its_lines_tell_the_ids_that_it_was_given(self, log: logging.Logger, task: str) -> None:
        book = written(log)

        task_prerun.send(sender=track_cost, task_id=task, kwargs={"event_id": "e" * 255, "hold_id": 7, "post_id": ""})
        log.info("booked")

        (line,) = book.lines
        assert (line["task_id"], line["task"]) == (task, "costs.tasks.track_cost")
        assert (line["event_id"], line["hold_id"]) == ("e" * 255, "7")
        assert "post_id" not in line

    @pytest.mark.parametrize("value", [{"prompt": CANARY}, [CANARY], CANARY + "x" * 255, 10**255, 1.5])
    def test_what_only_has_the_name_of_an_id_is_not_told(self, log: logging.Logger, task: str, value: Any) -> None:
        book = written(log)

        task_prerun.send(sender=track_cost, task_id=task, kwargs={"event_id": value})
        log.info("booked")

        assert "event_id" not in book.lines[0]


@pytest.mark.django_db
class TestARequest:
    def test_it_is_one_line_with_its_route_and_its_key(self, book: Book) -> None:
        caller = Caller.with_key(name="writers", source="writers")

        caller.get("/costs/post/post_001", cursor=CANARY)

        (line,) = book.requests
        assert (line["method"], line["route"], line["status"]) == ("GET", "costs/post/<path:post_id>", 404)
        assert (line["post_id"], line["source"], line["level"]) == ("post_001", "writers", "info")
        assert line["key"].startswith("writers (fin_")
        assert line["ms"] > 0
        assert CANARY not in book.text
        assert caller._headers["Authorization"][7:] not in book.text

    def test_its_id_is_answered_and_stands_in_its_line(self, book: Book, client: Client) -> None:
        response = client.get("/costs/breakdown")

        assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-ID"])
        assert book.requests[0]["request_id"] == response.headers["X-Request-ID"]

    def test_the_callers_own_id_is_kept(self, book: Book, client: Client) -> None:
        response = client.get("/costs/breakdown", headers={"X-Request-ID": "flow-77/step.1"})

        assert response.headers["X-Request-ID"] == "flow-77/step.1"
        assert book.requests[0]["request_id"] == "flow-77/step.1"

    @pytest.mark.parametrize("sent", ["", "two words", "a\nb", "ä", "x" * 101, '"', "{}"])
    def test_what_is_no_id_is_replaced(self, client: Client, sent: str) -> None:
        assert len(client.get("/costs/breakdown", headers={"X-Request-ID": sent}).headers["X-Request-ID"]) == 32

    def test_a_person_is_named(self, book: Book, admin_client: Client) -> None:
        admin_client.get("/admin/")

        assert book.requests[0]["user"] == "admin"

    @pytest.mark.parametrize("path", ["/health", "/ready", "/static/costs/admin.css"])
    def test_what_is_asked_all_the_time_is_no_line(self, book: Book, client: Client, path: str) -> None:
        response = client.get(path)
        response.close()

        assert (response.status_code, book.requests) == (200, [])
        assert "X-Request-ID" in response.headers

    def test_unless_it_fails(self, book: Book, client: Client) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE id = (SELECT max(id) FROM django_migrations)")

        client.get("/ready")

        assert [(line["route"], line["status"], line["level"]) for line in book.requests] == [("ready", 503, "warning")]

    def test_a_fault_is_told_once_with_its_traceback(self, book: Book, monkeypatch: Any) -> None:
        caller = Caller.with_key()
        monkeypatch.setattr("costs.attribution.post_summary", lambda *_, **__: 1 / 0)

        assert caller.get("/costs/post/post_001/summary")[0] == 500

        fault, request = book.lines
        assert fault["exception"].endswith("ZeroDivisionError: division by zero")
        assert (request["event"], request["status"], request["level"]) == ("request", 500, "error")
        assert fault["request_id"] == request["request_id"]

    def test_nothing_of_a_request_stays_for_the_next(self, book: Book, client: Client) -> None:
        structlog.contextvars.bind_contextvars(post_id="left behind")

        client.get("/costs/breakdown")

        assert "post_id" not in book.requests[0]


class TestADecision:
    def ask(self, status: int = 200, sent: str = "") -> dict[str, str]:
        """The headers of the express lane's answer to a decision that came out like this."""
        lane, headers = ExpressLane(lambda environ, start: []), {}
        way = ("POST", "/controls/decision")
        lane.ways[way] = lane.ways[way]._replace(view=lambda request: HttpResponse(status=status))
        environ = {"PATH_INFO": "/controls/decision", "REQUEST_METHOD": "POST", "wsgi.input": io.BytesIO()}
        if sent:
            environ["HTTP_X_REQUEST_ID"] = sent
        lane(environ, lambda _, answered, *rest: headers.update(answered))  # type: ignore[arg-type]
        return headers

    def test_it_answers_its_id(self) -> None:
        assert self.ask(sent="flow-77")["X-Request-ID"] == "flow-77"
        assert len(self.ask()["X-Request-ID"]) == 32

    def test_one_that_went_well_is_no_line(self, book: Book) -> None:
        self.ask(422)

        assert book.requests == []

    def test_one_that_failed_is(self, book: Book) -> None:
        self.ask(503, sent="flow-77")

        (line,) = book.requests
        assert (line["route"], line["status"], line["request_id"]) == ("controls/decision", 503, "flow-77")

    def test_one_that_took_long_is(self, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(access, "SLOW_SECONDS", -1)

        self.ask()

        assert len(book.requests) == 1
