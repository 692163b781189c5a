"""What Flower and everybody else who watches tasks is told: of their arguments ids and figures, never a payload.

Our own tasks carry nothing else. But an event may be sent through the broker by name, by programs that know nothing of
this one: then the worker, too, keeps what the message says of its arguments to itself. Of a failure it tells as much
as a line of the log.
"""

import re
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from celery.app.amqp import AMQP
from celery.utils.saferepr import saferepr
from celery.worker.request import Request

from finops_project.logs import LONGEST_REASON, scrubber

UNTOLD = "…"
# With the asterisks of what is hidden: workers read what senders wrote.
_ID = r"(?:'[\w.:/@+* -]{0,255}'|\d{1,20}|True|False|None)"
_NAMED = rf"'(?:\w+_id|version|nudge)': {_ID}"
ARGUMENTS = re.compile(rf"[(\[](?:{_ID}(?:, {_ID})*,?)?[)\]]")
NAMED_ARGUMENTS = re.compile(rf"\{{(?:{_NAMED}(?:, {_NAMED})*)?\}}")
# Also within quotes, where Python writes it as two characters.
END_OF_LINE = re.compile(r"[\r\n]|\\[rn]")


def told(written: str) -> str:
    """Arguments as Python writes them, if they are ids; else that they are not told."""
    is_told = ARGUMENTS.fullmatch(written) or NAMED_ARGUMENTS.fullmatch(written)
    return scrubber().text(written) if is_told else UNTOLD


def told_failure(written: str) -> str:
    """An exception as Python writes it, without the lines after its first: they may quote what an event holds."""
    first, *others = END_OF_LINE.split(written, maxsplit=1)
    return scrubber().text(f"{first}{UNTOLD}" if others else first, LONGEST_REASON)


class DiscreetMessages(AMQP):  # type: ignore[misc]  # Celery has no types
    """The sender's side: the message's headers, and the event that it was sent."""

    def as_task_v2(
        self,
        task_id: str,
        name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *more: Any,
        **options: Any,
    ) -> Any:
        written = {"argsrepr": told(saferepr(args or ())), "kwargsrepr": told(saferepr(kwargs or {}))}
        return super().as_task_v2(task_id, name, args, kwargs, *more, **options | written)


class DiscreetRequest(Request):  # type: ignore[misc]
    """The worker's side: the events that it was received and how it failed, and what `inspect` shows."""

    @property
    def argsrepr(self) -> str:
        return told(super().argsrepr or "()")

    @property
    def kwargsrepr(self) -> str:
        return told(super().kwargsrepr or "{}")

    def info(self, safe: bool = False) -> dict[str, Any]:
        return {**super().info(safe=True), "args": self.argsrepr, "kwargs": self.kwargsrepr}

    def on_failure(self, exc_info: Any, *more: Any, **options: Any) -> Any:
        # Its frames alone: Celery's own text also has all that the error says.
        exc_info.traceback = "".join(traceback.format_tb(exc_info.tb))
        return super().on_failure(exc_info, *more, **options)

    def send_event(self, type: str, **fields: Any) -> None:
        if "exception" in fields:
            fields["exception"] = told_failure(fields["exception"])
        super().send_event(type, **fields)
