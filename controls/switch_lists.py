"""The model switches as people edit them: of each dear model one ordered list of cheaper ones."""

import logging
from collections.abc import Sequence

from django.db import connection, transaction

from controls.models import Switch
from controls.spending import TAKE

log = logging.getLogger(__name__)

MOST_TARGETS = 20
# Whoever replaces a list takes it: two at once would mix theirs.
LOCK = 2_400_021


def replace(model: str, targets: Sequence[Switch], *, actor: str) -> list[Switch]:
    """Let these stand in for the model, in this order; without any nothing does."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(TAKE, [LOCK])
        # Decisions look a model up in any case.
        Switch.objects.filter(model__iexact=model).delete()
        for position, target in enumerate(targets, 1):
            target.model, target.position = model, position
        Switch.objects.bulk_create(targets)
    log.info("%s let %s stand in for %s", actor, [target.target for target in targets], model)
    return list(Switch.objects.of(model))


def lists() -> dict[str, list[Switch]]:
    """Every model's, in the order of the models."""
    found: dict[str, list[Switch]] = {}
    for each in Switch.objects.order_by("model", "position", "pk"):
        found.setdefault(each.model, []).append(each)
    return found
