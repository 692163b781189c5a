"""What every process logs: one line for each thing that happened, readable in a terminal, JSON in a container.

All loggers of the standard library end here: ours, Django's, Celery's, the web server's. A line has `timestamp`,
`level`, `event` and `logger`, the ids bound by its context (request_id; task_id and task), and what its call gave in
`extra`, as far as its name is in TOLD. Secrets and payloads never come out, whoever tries to log them.
"""

import json
import logging.config
import re
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping
from functools import cache, partial
from typing import Any, Final

import structlog
from django.conf import settings as django_settings
from structlog.processors import TimeStamper, UnicodeDecoder
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name
from structlog.typing import EventDict, Processor

PRETTY: Final = "pretty"
JSON: Final = "json"
FIRST = ("timestamp", "level", "event", "logger")
IDS = (
    *("event_id", "post_id", "persona_id", "hold_id", "budget_id", "anomaly_id", "delivery_id", "override_id"),
    *("request_id", "task_id", "task"),
)
# Of what a call gives in `extra`; libraries give whole requests and messages.
TOLD = (
    *IDS,
    *("entry", "channel", "model", "source", "key", "user", "events", "rows"),
    *("method", "route", "status", "state", "ms"),
    # Frames without the error's own words, where these would tell too much.
    "exception",
)
LONGEST_TEXT, LONGEST_TRACEBACK, LONGEST_REASON, DEEPEST = 2_000, 20_000, 300, 5
# Patterns read so many times what is told: callers choose how long their texts are, and how long reading takes.
READ_PER_TOLD = 4
HIDDEN = "***"
NAMES_OF_SECRETS = (
    "authorization|password|passwd|secret|token|webhook|webhook_url|dsn|api[_-]?key|routing_key|cookie|sessionid|"
    "credentials|database_url|redis_url|broker_url|secret_key"
)
SECRET_NAME = re.compile(rf"(?:^|[_-])(?:{NAMES_OF_SECRETS})$", re.IGNORECASE)
PAYLOADS = {"usage", "metadata", "cost_metadata", "payload", "body", "args", "kwargs", "params", "data", "headers"}
SECRET_TEXTS = (
    # What an address may hide: a login, and on other hosts all that follows the host.
    (re.compile(r"://[^\s/@\"']*@"), f"://{HIDDEN}@"),
    (re.compile(r"(https?://[^\s/\"'<>]+)/[^\s\"'<>)\]]+"), rf"\1/{HIDDEN}"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]+", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"\bfin_[\w-]{8,}"), f"fin_{HIDDEN}"),
    (
        re.compile(
            rf"\b((?:\w+_)?(?:{NAMES_OF_SECRETS})[\"']?\s*[=:]\s*)(?:\"[^\"]*\"|'[^']*'|[^\s,;)}}\]]+)", re.IGNORECASE
        ),
        rf"\1{HIDDEN}",
    ),
)
# Without these no secret is recognised: most texts are spared the search for each kind.
SUSPICIOUS = re.compile(r"[=:]|fin_|bearer|basic", re.IGNORECASE)
# A library's own words about a message, of which the lines after the first quote the message.
ONLY_FIRST_LINE = ("celery.", "kombu.", "amqp.")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def settings(form: str, level: str, *, secrets: Iterable[str] = ()) -> dict[str, Any]:
    """For Django's LOGGING. `secrets` are texts that never come out, wherever they stand."""
    # Debugging tells what a payload holds: statements with their parameters, messages with their arguments.
    discreet = ("django.db.backends", "celery", "kombu", "amqp", "httpcore2", "asyncio")
    # A line of ours tells the same better: an answer's, a task's, an entry's of the schedule.
    doubled = ("django.server", "celery.worker.strategy", "celery.app.trace")
    # They pass nothing on to the root.
    apart = ("_granian", "granian.access", "multiprocessing")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"once": {"()": Once}},
        "formatters": {"line": {"()": partial(formatter, form, tuple(secrets))}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["once"]}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            **{name: {"level": "INFO"} for name in discreet},
            **{name: {"level": "WARNING"} for name in doubled},
            **{name: {"handlers": ["console"], "level": "INFO", "propagate": False} for name in apart},
            "django": {"handlers": [], "level": "INFO"},
        },
    }


def configure(config: Mapping[str, Any]) -> None:
    """Django's LOGGING_CONFIG: also for loggers of structlog, warnings, and threads that end by an exception."""
    logging.config.dictConfig(dict(config))
    logging.captureWarnings(True)
    threading.excepthook = _tell_of_a_thread
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            add_log_level,
            add_logger_name,
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def formatter(form: str, secrets: tuple[str, ...] = ()) -> ProcessorFormatter:
    bound = structlog.contextvars.merge_contextvars
    last: list[Processor] = [_one_line, _console()] if form == PRETTY else [_json]
    return ProcessorFormatter(
        foreign_pre_chain=[bound, add_log_level, add_logger_name, ExtraAdder(TOLD)],
        processors=[
            _only_first_line,
            ProcessorFormatter.remove_processors_meta,
            TimeStamper(fmt="iso", utc=True),
            UnicodeDecoder(),
            tell_exception,
            Scrubber(secrets),
            *last,
        ],
    )


class Once(logging.Filter):
    """Drops what another line tells: Django's about an answer without a fault, and beat's about each of its entries."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "django.request":
            return bool(record.exc_info)
        return not (record.name == "celery.beat" and str(record.msg).startswith("Scheduler: Sending due task"))


class Scrubber:
    """Takes secrets and payloads out of everything that is about to be written."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # A short one would stand in innocent words.
        known = sorted({secret for secret in secrets if len(secret) >= 8}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, logger: Any, method: str, event: EventDict) -> EventDict:
        return {name: self._value(name, value) for name, value in event.items()}

    def text(self, text: str, longest: int = LONGEST_TEXT) -> str:
        """At most so many characters, and an ellipsis where something was left out."""
        read = text[: READ_PER_TOLD * longest]
        told, is_all = self._hide(read), len(read) == len(text)
        if not is_all:
            # A secret may begin there, and only the whole of it is recognised.
            told = told[:-longest]
        return told if is_all and len(told) <= longest else f"{told[:longest]}…"

    def _hide(self, text: str) -> str:
        if self._known:
            text = self._known.sub(HIDDEN, text)
        if SUSPICIOUS.search(text):
            for pattern, replacement in SECRET_TEXTS:
                text = pattern.sub(replacement, text)
        return text

    def _value(self, name: str, value: Any, depth: int = 0) -> Any:
        if SECRET_NAME.search(name) or name.lower() in PAYLOADS or depth > DEEPEST:
            return HIDDEN
        if isinstance(value, str):
            return self.text(value, LONGEST_TRACEBACK if name == "exception" else LONGEST_TEXT)
        if isinstance(value, Mapping):
            return {str(key): self._value(str(key), each, depth + 1) for key, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value("", each, depth + 1) for each in value]
        return value if value is None or isinstance(value, bool | int | float) else self.text(str(value))


@cache
def scrubber() -> Scrubber:
    """The one that knows the secrets of this process' settings."""
    return Scrubber(django_settings.SECRETS)


def tell_exception(logger: Any, method: str, event: EventDict) -> EventDict:
    """The traceback as one field. Of each message only the first line: the others may quote what an event holds."""
    info = event.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else info if isinstance(info, BaseException) else None
    if info is True:
        error = sys.exc_info()[1]
    if error is not None:
        event["exception"] = "\n".join(_chain(error, set()))
    return event


def reason(error: BaseException) -> str:
    """An exception in one line, which quotes as little as can be, and no secret."""
    first, *_ = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {_escaped(scrubber().text(first, LONGEST_REASON))}"


def _chain(error: BaseException, seen: set[int]) -> list[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    lines = []
    if before is not None and id(before) not in seen:
        lines = [*_chain(before, seen), "", "This led to:" if error.__cause__ else "While it was handled:", ""]
    frames = "".join(traceback.format_tb(error.__traceback__)).rstrip("\n")
    return [*lines, "Traceback (most recent call last):", *([frames] if frames else []), reason(error)]


def _only_first_line(logger: Any, method: str, event: EventDict) -> EventDict:
    """Celery ends what it says of a message by the message itself, and of a failed task by all the error says."""
    name = event["_record"].name
    if name.startswith(ONLY_FIRST_LINE):
        event["event"] = str(event["event"]).strip().partition("\n")[0]
    if name == "celery.app.trace" and event.get("exc_info"):
        event["event"] = "task failed"
    return event


def _one_line(logger: Any, method: str, event: EventDict) -> EventDict:
    """In a terminal what a caller sent must neither begin a line of its own nor move the cursor."""
    return {name: value if name == "exception" else _escaped(value) for name, value in event.items()}


def _escaped(value: Any) -> Any:
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], value) if isinstance(value, str) else value


def _console() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
    )


def _json(logger: Any, method: str, event: EventDict) -> str:
    first = {name: event.pop(name) for name in FIRST if name in event}
    return json.dumps({**first, **event}, default=str)


def _tell_of_a_thread(end: threading.ExceptHookArgs) -> None:
    if end.exc_type is not SystemExit:
        name = end.thread.name if end.thread else "unknown"
        logging.getLogger(__name__).critical("the thread %s ended", name, exc_info=end.exc_value)
