"""Clients that pay for calls, as a process of its own: `python -m tests.controls.client_process COUNT LIFE_SECONDS`.

It says `ready`, and begins with the first line that it reads. Each client asks once for a call of $0.01 at most, pays
for it a while later, and prints what became of it as a line of JSON.
"""

import json
import random
import sys
import time
from datetime import timedelta
from decimal import Decimal
from threading import BoundedSemaphore, Lock, Thread
from typing import Any

import django

django.setup()

from django.db import connections  # noqa: E402  (needs Django)
from django.utils.timezone import now  # noqa: E402

from controls import decisions  # noqa: E402
from controls.estimates import Call  # noqa: E402
from controls.verdicts import Decision  # noqa: E402
from costs import ingest  # noqa: E402
from costs.events import encode  # noqa: E402
from costs.models import DEFAULT_SOURCE  # noqa: E402

PERSONA, MODEL = "ai_jesus", "gpt-4o"
# At $2.50 and $10 for a million tokens, $0.01 in all.
INPUT_TOKENS, OUTPUT_TOKENS = 1000, 750
MOST = Decimal("0.01")
MOST_TRIES, PAUSE_SECONDS = 100, 0.1
# Answers that say nothing of the money.
INEXACT = ("database_away", "busy")

_booking, _printing = BoundedSemaphore(2), Lock()


def a_call(life: timedelta, post_id: str = "") -> Call:
    return Call(MODEL, INPUT_TOKENS, OUTPUT_TOKENS, persona_id=PERSONA, post_id=post_id, life=life)


def pay(decision: Decision, output_tokens: int) -> Decimal:
    """Report the call as made; returns what it cost."""
    event = {
        "event_id": f"call-{decision.hold_id}",
        "cost_type": "openai_api",
        "model": decision.model,
        "persona_id": PERSONA,
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": output_tokens},
        "hold_id": str(decision.hold_id),
    }
    (receipt,) = ingest.accept([encode(event)], source=DEFAULT_SOURCE, at=now())
    assert receipt.status == "accepted", receipt
    return (INPUT_TOKENS * Decimal("2.5") + output_tokens * 10) / 1_000_000


def main(count: int, life_seconds: int) -> None:
    # What comes first, opening connections and reading prices, is no part of the race.
    decisions.warm_up()
    print("ready", flush=True)
    sys.stdin.readline()
    life = timedelta(seconds=life_seconds)
    clients = [Thread(target=_client, args=(life, number)) for number in range(count)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()


def _client(life: timedelta, number: int) -> None:
    dice = random.Random(number)
    decision, tries = _asked(a_call(life, post_id=f"{id(life)}-{number}"))
    _tell(decision=decision.decision, reason=decision.reason, tries=tries)
    if not decision.is_let_in:
        return
    time.sleep(dice.uniform(0.2, 1.5))
    with _booking:
        amount = pay(decision, dice.randrange(OUTPUT_TOKENS + 1))
        connections.close_all()
    _tell(paid=str(amount))


def _asked(call: Call) -> tuple[Decision, int]:
    """Asks again until it hears of the money; returns how often it asked, too."""
    tries = 1
    while (decision := decisions.decide(call, at=now())).reason in INEXACT and tries < MOST_TRIES:
        time.sleep(PAUSE_SECONDS)
        tries += 1
    return decision, tries


def _tell(**said: Any) -> None:
    with _printing:
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
