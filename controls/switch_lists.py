"""The model switches as people edit them: of each dear model one ordered list of cheaper ones.

Every change leaves a SettingChange in its own transaction.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from controls.models import SettingChange, Switch
from controls.spending import TAKE

log = logging.getLogger(__name__)

MOST_TARGETS = 20
# Whoever changes a list takes it: two at once would mix theirs.
LOCK = 2_400_021


def replace(model: str, targets: Sequence[Switch], *, actor: str, at: datetime) -> list[Switch]:
    """Let these stand in for the model, in this order; without any nothing does."""
    # Decisions look a model up in any case.
    former = Switch.objects.filter(model__iexact=model)
    with transaction.atomic():
        _take()
        spellings = set(former.values_list("model", flat=True))
        with changing(spellings | {model} if targets else spellings, actor=actor, at=at):
            former.delete()
            for position, target in enumerate(targets, 1):
                target.model, target.position = model, position
            Switch.objects.bulk_create(targets)
    return list(Switch.objects.of(model))


@contextmanager
def changing(names: Iterable[str], *, actor: str, at: datetime) -> Iterator[None]:
    """Change the lists of these models within it; what each is afterwards is recorded."""
    with transaction.atomic():
        _take()
        yield
        for model in sorted(names):
            targets = list(Switch.objects.of(model))
            SettingChange.objects.create(
                kind=SettingChange.Kind.SWITCHES, name=model, content=_content(targets), actor=actor, at=at
            )
            log.info("%s let %s stand in for %s", actor, [target.target for target in targets], model)


def lists() -> dict[str, list[Switch]]:
    """Every model's, in the order of the models."""
    found: dict[str, list[Switch]] = {}
    for each in Switch.objects.order_by("model", "position", "pk"):
        found.setdefault(each.model, []).append(each)
    return found


def _take() -> None:
    with connection.cursor() as cursor:
        cursor.execute(TAKE, [LOCK])


def _content(targets: Sequence[Switch]) -> list[dict[str, Any]] | None:
    """In their order; None: nothing stands in for the model any more."""
    return [_target(target) for target in targets] or None


def _target(switch: Switch) -> dict[str, Any]:
    return {
        "target": switch.target,
        "retired_on": switch.retired_on.isoformat() if switch.retired_on else None,
        "context_tokens": switch.context_tokens,
    }
