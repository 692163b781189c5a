"""The alert path as its users see it: a persona goes mad, people hear of it once, and again when it is over."""

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from examples.content_pipeline.receivers import CHANNELS, Message, Receivers, about

RULE = "cost_spike"
DEAR_POSTS, CALM_POSTS = 2, 12
# Detection is a matter of a second or two; the specification allows thirty.
HEARD_SECONDS, DOUBLES_SECONDS = 30, 4
# Calm for a minute, a look every half minute, and some time for a busy machine.
OVER_SECONDS = 150
POLL_SECONDS = 0.25
CRITICAL_FROM = Decimal(5)
NAMES = {"slack": "Slack", "pagerduty": "PagerDuty", "email": "mail"}
# The specification's sample, to the letter but for its numbers.
SLACK_TEXT = (
    "🚨 COST ANOMALY DETECTED\nType: cost_spike\nSeverity: CRITICAL\nPersona: {persona}\n"
    r"Current cost: \$\d+\.\d{{3}}\nMultiplier: \d+\.\d\dx baseline"
)


@dataclass(slots=True)
class Incident:
    """One persona's incident, as the receivers know it from message number `after` on."""

    receivers: Receivers
    persona_id: str
    after: int
    wrong: list[str] = field(default_factory=list)
    checked: int = 0

    def begun(self) -> dict[str, list[Message]]:
        return about(self.messages(), self.persona_id, RULE, ends=False)

    def ended(self) -> dict[str, list[Message]]:
        return about(self.messages(), self.persona_id, RULE, ends=True)

    def messages(self) -> list[Message]:
        return self.receivers.messages(self.after)

    def wait(self, heard: Callable[[], dict[str, list[Message]]], seconds: int, done: Callable[[int], None]) -> None:
        """Return once every channel has heard, or the time is up."""
        started = time.monotonic()
        while (waited := time.monotonic() - started) < seconds and not all(heard().values()):
            done(int(waited))
            time.sleep(POLL_SECONDS)
        done(seconds)

    def check(self, is_right: bool, sentence: str) -> None:
        self.checked += 1
        if not is_right:
            self.wrong.append(sentence)

    def check_begun(self, status_of: Callable[[str], int]) -> None:
        """One message on each channel, with the right words and a link that leads somewhere."""
        for channel, messages in self.begun().items():
            self._check_one(channel, messages, "of the spike")
            for message in messages:
                self._check_facts(message)
                self.check(bool(message.url), f"{NAMES[channel]} has no link to the anomaly")
        for url in sorted({message.url for found in self.begun().values() for message in found if message.url}):
            status = status_of(url)
            self.check(status == 200, f"{url} answers {status} to somebody who is logged in")
        for message in self.begun()["slack"]:
            expected = SLACK_TEXT.format(persona=re.escape(self.persona_id))
            self.check(bool(re.fullmatch(expected, message.text)), "the Slack text differs from the specified one")

    def check_ended(self) -> None:
        for channel, messages in self.ended().items():
            self._check_one(channel, messages, "of its end")
        for channel, messages in self.begun().items():
            self._check_one(channel, messages, "of the spike, now that it is over")
        states = self.receivers.incidents()
        for key in {message.key for message in self.begun()["pagerduty"]}:
            self.check(states.get(key) == "resolved", f"the pager's incident is {states.get(key, 'unknown')}")

    def others(self, run: str, apart_from: Collection[str] = ()) -> list[Message]:
        """What was told of this run's personas besides the incident: not expected, and not hidden."""
        ours = {message.number for found in (self.begun(), self.ended()) for each in found.values() for message in each}
        messages = [each for each in self.messages() if each.persona_id not in apart_from]
        return [each for each in messages if each.persona_id.endswith(run) and each.number not in ours]

    def _check_one(self, channel: str, messages: list[Message], of_what: str) -> None:
        self.check(len(messages) == 1, f"{NAMES[channel]} has {len(messages)} messages {of_what} instead of one")

    def _check_facts(self, message: Message) -> None:
        severity = message.facts.get("Severity")
        self.check(severity == "CRITICAL", f"{NAMES[message.channel]} says the severity {severity}")
        times = _number(message.facts.get("Multiplier", ""))
        self.check(times >= CRITICAL_FROM, f"{NAMES[message.channel]} says {times} times the baseline")
        current = _number(message.facts.get("Current cost", ""))
        self.check(current > 0, f"{NAMES[message.channel]} says no current cost")


def _number(text: str) -> Decimal:
    """The first number in it, or 0."""
    found = re.search(r"\d+(\.\d+)?", text)
    return Decimal(found[0]) if found else Decimal(0)


def shown(found: Mapping[str, list[Message]], since: datetime, event: str) -> Iterator[str]:
    """When each channel heard, counted from the event, and every message as it arrived."""
    for channel in CHANNELS:
        for message in found[channel]:
            yield ""
            yield f"   {NAMES[channel]}, {(message.received_at - since).total_seconds():.1f} s after {event}"
            yield from (f"     | {line}".rstrip() for line in message.text.splitlines())


def summary(incident: Incident, run: str, apart_from: Collection[str] = ()) -> Iterator[str]:
    """Whether it went right, and what was told besides; of the personas in `apart_from` is told elsewhere."""
    yield f"  {incident.checked - len(incident.wrong)} of {incident.checked} checks of the alert path hold"
    yield from (f"    WRONG: {sentence}" for sentence in incident.wrong)
    others = incident.others(run, apart_from)
    yield f"  told besides of this run's personas: {len(others) or 'nothing'}"
    yield from (f"    {NAMES[each.channel]}: {each.headline}: {each.rule} of {each.persona_id}" for each in others)
