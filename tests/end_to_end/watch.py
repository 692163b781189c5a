"""The alert path on real processes: vendors that listen, a worker that books, one that watches, a beat."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from finops_project.local import processes as commands
from tests.alerts.conftest import seed
from tests.alerts.vendors import MailServer, PagerDutyServer, SlackServer, pagerduty, slack, smtp
from tests.processes import AppProcess, worker_of

SWEEP_SECONDS = "1"


@dataclass(frozen=True, slots=True)
class OnCall:
    """Who hears of alerts."""

    slack: SlackServer
    pagerduty: PagerDutyServer
    mail: MailServer

    @property
    def environment(self) -> dict[str, str]:
        """What the application needs to reach them."""
        return {
            "FINOPS_SLACK_WEBHOOK_URL": self.slack.url,
            "FINOPS_PAGERDUTY_ROUTING_KEY": PagerDutyServer.ROUTING_KEY,
            "FINOPS_PAGERDUTY_URL": self.pagerduty.origin,
            "FINOPS_ALERT_EMAIL_TO": "oncall@example.com",
            "FINOPS_SMTP_HOST": self.mail.host,
            "FINOPS_SMTP_PORT": str(self.mail.port),
            "FINOPS_ALERT_TEST_ENDPOINTS": f"{self.slack.origin},{self.pagerduty.origin}",
            "FINOPS_ANOMALY_CHECK_INTERVAL_SECONDS": SWEEP_SECONDS,
        }

    def heard(self, rule: str, persona: str) -> Counter[tuple[str, str]]:
        """How often each channel was told (what) of this incident."""
        return Counter(
            [
                *(("slack", _first_line(text)) for text in self._slack_texts() if _is_about(text, rule, persona)),
                *(("pagerduty", event["event_action"]) for event in self._pages(rule, persona)),
                *(
                    ("mail", subject.split()[1])
                    for subject in self._subjects()
                    if subject.endswith(f"{rule}: {persona}")
                ),
            ]
        )

    def _slack_texts(self) -> list[str]:
        return [str(message["text"]) for message in list(self.slack.messages)]

    def _pages(self, rule: str, persona: str) -> list[Any]:
        """A page that ends an incident names it by its key alone."""
        events = list(self.pagerduty.events)
        begun = [event for event in events if event["event_action"] == "trigger"]
        payloads = [(event["dedup_key"], event["payload"]) for event in begun]
        keys = {key for key, payload in payloads if (payload["class"], payload["component"]) == (rule, persona)}
        return [event for event in events if event["dedup_key"] in keys]

    def _subjects(self) -> list[str]:
        return [str(mail["Subject"]) for mail in list(self.mail.mails)]


OPENED = Counter({("slack", "DETECTED"): 1, ("pagerduty", "trigger"): 1, ("mail", "CRITICAL"): 1})
RESOLVED = Counter({("slack", "RESOLVED"): 1, ("pagerduty", "resolve"): 1, ("mail", "RESOLVED"): 1})


def _is_about(text: str, rule: str, persona: str) -> bool:
    lines = text.splitlines()
    return f"Type: {rule}" in lines and f"Persona: {persona}" in lines


def _first_line(text: str) -> str:
    return text.partition("\n")[0].split()[-1]


@contextmanager
def on_call() -> Iterator[OnCall]:
    """The three channels that ship, each with a vendor of its own; tests with committed data emptied their tables."""
    seed()
    with slack() as messages, pagerduty() as pager, smtp() as mail:
        yield OnCall(messages, pager, mail)


@contextmanager
def watcher(extra: Mapping[str, str], n: int = 2) -> Iterator[AppProcess]:
    """A worker of detection and alerts alone, as `make up` runs one beside the one that books.

    `extra` are environment variables.
    """
    with worker_of((commands.WATCHING, commands.TELLING), n, extra) as process:
        yield process


@contextmanager
def booker(extra: Mapping[str, str], n: int = 1) -> Iterator[AppProcess]:
    """A worker that books and does nothing else."""
    with worker_of((commands.BOOKING,), n, extra) as process:
        yield process
