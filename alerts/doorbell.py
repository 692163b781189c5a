"""The nudge that a message is waiting: rung after the commit, allowed to fail. The sweep finds what it missed."""

import logging
from collections.abc import Iterable
from functools import partial

from celery import current_app
from django.db import transaction

log = logging.getLogger(__name__)

# More in one transaction are left to the sweep: whoever caused them must not wait for the broker.
MOST_RINGS = 100
# Older nudges pile up behind busy workers and have nothing left to say.
EXPIRES_SECONDS = 10


def ring(delivery_ids: Iterable[int]) -> None:
    """Have these deliveries attempted once the transaction is committed; the most urgent first."""
    rung = list(delivery_ids)[:MOST_RINGS]
    if rung:
        transaction.on_commit(partial(_publish, rung))


def _publish(delivery_ids: list[int]) -> None:
    try:
        for delivery_id in delivery_ids:
            # By name: the task module imports what rings.
            current_app.send_task(
                "alerts.tasks.deliver",
                args=[delivery_id],
                retry=False,
                ignore_result=True,
                expires=EXPIRES_SECONDS,
            )
    except Exception as error:
        # After the first failure no other is tried: a broker that hangs costs a second each time.
        log.warning("%d messages wait for the sweep, the broker is away: %s", len(delivery_ids), type(error).__name__)
