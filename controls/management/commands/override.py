"""Overrule the breaker by hand, for one persona or for all; the word holds for an hour unless --for says otherwise.

manage.py override pause --all --reason "the bill explodes"
manage.py override close ai_jesus --for 30m --reason "a launch, watched by hand"
manage.py override disable ai_jesus --reason "its baseline is wrong"
manage.py override list
manage.py override end --all

pause lets nothing through. close lets everything through that a hard budget does not stop, and the breaker goes on
watching; disable does the same, and it does not watch.
"""

import getpass
import os
import re
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.timezone import now

from controls import overrides
from controls.models import Override
from controls.models.breaker import EVERYBODY

KINDS = {
    "pause": Override.Kind.FORCE_OPEN,
    "close": Override.Kind.FORCE_CLOSED,
    "disable": Override.Kind.DISABLED,
}
EFFECTS = {
    Override.Kind.FORCE_OPEN: "Paused: nothing is let through for {who}.",
    Override.Kind.FORCE_CLOSED: "Closed: the breaker holds {who} back no more, and goes on watching.",
    Override.Kind.DISABLED: "Disabled: the breaker neither holds {who} back nor watches.",
}
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Command(BaseCommand):
    help = __doc__
    # In an emergency nothing may stand in its way that does not concern it.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        does = parser.add_subparsers(dest="does", required=True)
        for name in KINDS:
            verb = does.add_parser(name)
            _whose(verb)
            verb.add_argument("--reason", required=True, help="why, for those who read it later")
            verb.add_argument("--for", dest="lasts", default="1h", help="such as 30m or 4h; at most 24h")
            _actor(verb)
        end = does.add_parser("end")
        _whose(end).add_argument("--id", type=int, help="the number that `override list` shows")
        _actor(end)
        does.add_parser("list")

    def handle(self, *args: Any, **options: Any) -> None:
        at = now()
        if options["does"] == "list":
            self._list(at)
        elif options["does"] == "end":
            self._end(options, at)
        else:
            self._begin(options, at)

    def _begin(self, options: dict[str, Any], at: datetime) -> None:
        kind, persona = KINDS[options["does"]], _persona(options)
        former = [each for each in overrides.active(at) if each.persona_id == persona]
        try:
            override = overrides.begin(
                kind, persona, reason=options["reason"], actor=_name(options), for_=_span(options["lasts"]), at=at
            )
        except overrides.Impossible as error:
            raise CommandError(f"Nothing was done: the {error}.") from None
        whose = "--all" if persona == EVERYBODY else f"-- {persona}" if persona.startswith("-") else persona
        self.stdout.write(EFFECTS[kind].format(who=persona or "everybody"))
        for each in former:
            self.stdout.write(f"It takes the place of override {each.pk} ({each.kind}, by {each.actor}).")
        self.stdout.write(f"Until {_moment(override.expires_at)}. To end it before: manage.py override end {whose}")
        if kind is not Override.Kind.FORCE_OPEN:
            self.stdout.write("Hard budgets still refuse what would overspend them.")
            self._warn_of_pauses(persona, at)

    def _warn_of_pauses(self, persona: str, at: datetime) -> None:
        """A pause wins over whatever else is in force."""
        pauses = [each for each in overrides.active(at) if each.kind == Override.Kind.FORCE_OPEN]
        for pause in pauses:
            if EVERYBODY in (persona, pause.persona_id) or pause.persona_id == persona:
                whose = pause.persona_id or "everybody"
                self.stdout.write(
                    f"But override {pause.pk} still pauses {whose}: manage.py override end --id {pause.pk}"
                )

    def _end(self, options: dict[str, Any], at: datetime) -> None:
        ended = [overrides.end(each.pk, actor=_name(options), at=at) for each in _in_force(options, at)]
        for override in ended:
            self.stdout.write(
                f"Ended: override {override.pk} ({override.kind}) of {override.persona_id or 'everybody'}."
            )
        left = overrides.active(at)
        self.stdout.write(f"Still in force: {len(left)}." if left else "No override is in force.")
        for override in left:
            self.stdout.write(_line(override))

    def _list(self, at: datetime) -> None:
        found = overrides.active(at)
        for override in found:
            self.stdout.write(_line(override))
        if not found:
            self.stdout.write("No override is in force: the breaker decides.")


def _whose(parser: ArgumentParser) -> Any:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("persona", nargs="?", help="one persona")
    which.add_argument("--all", action="store_true", help="everybody, known or not")
    return which


def _actor(parser: ArgumentParser) -> None:
    parser.add_argument("--actor", default="", help="who says so; the user of this machine when absent")


def _persona(options: dict[str, Any]) -> str:
    persona: str = options["persona"] or EVERYBODY
    if not options["all"] and not persona.strip():
        raise CommandError("Nothing was done: the persona is empty. Say --all for everybody.")
    return persona


def _name(options: dict[str, Any]) -> str:
    given: str = options["actor"].strip()
    if given:
        return given
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # In a container the user may have no name.
        return f"user {os.getuid()}"


def _span(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if not found:
        raise CommandError(f"Nothing was done: --for {text} is no duration. Write 90s, 30m, 4h or 1d.")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def _in_force(options: dict[str, Any], at: datetime) -> list[Override]:
    """The one that is to be ended."""
    found = overrides.active(at)
    if options["id"] is not None:
        chosen, words = [each for each in found if each.pk == options["id"]], f"with the number {options['id']}"
    else:
        persona = _persona(options)
        chosen, words = [each for each in found if each.persona_id == persona], f"for {persona or 'everybody'}"
    if not chosen:
        raise CommandError(f"No override {words} is in force. See: manage.py override list")
    return chosen


def _line(override: Override) -> str:
    who = override.persona_id or "everybody"
    return (
        f"{override.pk}  {who}  {override.kind}  until {_moment(override.expires_at)}"
        f"  by {override.actor}: {override.reason}"
    )


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
