"""What Flower and everybody else who watches tasks is told of their arguments: ids and figures, never a payload.

Our own tasks carry nothing else. But an event may be sent through the broker by name, by programs that know nothing of
this one: then the worker, too, keeps what the message says of its arguments to itself.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from celery.app.amqp import AMQP
from celery.utils.saferepr import saferepr
from celery.worker.request import Request

UNTOLD = "…"
_ID = r"(?:'[^'\\]{0,255}'|\d{1,20}|True|False|None)"
_NAMED = rf"'(?:\w+_id|version|nudge)': {_ID}"
ARGUMENTS = re.compile(rf"[(\[](?:{_ID}(?:, {_ID})*,?)?[)\]]")
NAMED_ARGUMENTS = re.compile(rf"\{{(?:{_NAMED}(?:, {_NAMED})*)?\}}")


def told(written: str) -> str:
    """Arguments as Python writes them, if they are ids; else that they are not told."""
    is_told = ARGUMENTS.fullmatch(written) or NAMED_ARGUMENTS.fullmatch(written)
    return written if is_told else UNTOLD


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
    """The worker's side: the event that it was received, and what `inspect` shows."""

    @property
    def argsrepr(self) -> str:
        return told(super().argsrepr or "()")

    @property
    def kwargsrepr(self) -> str:
        return told(super().kwargsrepr or "{}")

    def info(self, safe: bool = False) -> dict[str, Any]:
        return {**super().info(safe=True), "args": self.argsrepr, "kwargs": self.kwargsrepr}
