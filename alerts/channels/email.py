"""Mail, through Django's backend. All mails about one incident hang together in a reader's list."""

import hashlib
import smtplib
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parseaddr
from typing import Any

from django.conf import settings as django
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.validators import validate_email
from django.template.loader import render_to_string

from alerts.channels import wording
from alerts.channels.base import Event, Notice, TransportError
from alerts.signal import Severity

TIMEOUT_SECONDS = 10
_LONGEST_SUBJECT = 200
_STATES = {Event.ACKNOWLEDGED: "ACKNOWLEDGED", Event.RESOLVED: "RESOLVED"}
# White on these is readable by light and in the dark.
_COLOURS = {
    Severity.CRITICAL: "#b3261e",
    Severity.HIGH: "#b34d00",
    Severity.MEDIUM: "#8a6100",
    Severity.LOW: "#4a5a6a",
}
_DONE_COLOUR = "#1e7b3c"


class Email:
    def check(self, settings: Mapping[str, Any]) -> None:
        to = settings.get("to")
        if not isinstance(to, list) or not to:
            raise ValueError("A list of mail addresses is needed.")
        sender = settings.get("from")
        for address in [*to, *([parseaddr(str(sender))[1]] if sender else [])]:
            try:
                validate_email(address)
            except ValidationError:
                raise ValueError(f"{wording.one_line(address, 100)} is not a mail address.") from None
        if sender and not str(sender).isprintable():
            raise ValueError("The sender contains a character that is not printable.")

    def send(self, notice: Notice, settings: Mapping[str, Any]) -> str:
        try:
            self.check(settings)
        except ValueError as refusal:
            raise TransportError(str(refusal), permanent=True, channel_broken=True) from None
        mail = compose(notice, settings)
        # Without a timeout a server that says nothing would hold the worker for good.
        mail.connection = get_connection(timeout=django.EMAIL_TIMEOUT or TIMEOUT_SECONDS)
        try:
            mail.send()
        except (smtplib.SMTPException, OSError) as error:
            raise _judged(error) from None
        finally:
            # The backend leaves a session open whose login failed.
            with suppress(smtplib.SMTPException, OSError):
                mail.connection.close()
        return str(mail.extra_headers["Message-ID"])


def compose(notice: Notice, settings: Mapping[str, Any]) -> EmailMultiAlternatives:
    context = {
        "at": wording.instant(notice.at),
        "heading": wording.heading(notice),
        "sentence": wording.sentence(notice),
        "rows": wording.rows(notice),
        "lines": [wording.one_line(line) for line in notice.lines],
        "link": wording.absolute(notice.url),
        "colour": _DONE_COLOUR if notice.event is Event.RESOLVED else _COLOURS[notice.severity],
    }
    sender = str(settings.get("from") or django.DEFAULT_FROM_EMAIL)
    mail = EmailMultiAlternatives(
        subject(notice),
        render_to_string("alerts/notice.txt", context),
        sender,
        list(settings["to"]),
        headers=_thread(notice, sender),
    )
    mail.attach_alternative(render_to_string("alerts/notice.html", context), "text/html")
    return mail


def subject(notice: Notice) -> str:
    if notice.event is Event.TEST:
        return "[FinOps] Test of this channel"
    if notice.event is Event.DIGEST:
        return wording.one_line(f"[FinOps] Digest: {notice.title}", _LONGEST_SUBJECT)
    state = _STATES.get(notice.event, notice.severity.upper())
    if not wording.is_detected(notice):
        return wording.one_line(f"[FinOps] {state}: {notice.title}", _LONGEST_SUBJECT)
    about = notice.persona_id or notice.title
    return wording.one_line(f"[FinOps] {state} {notice.rule}: {about}", _LONGEST_SUBJECT)


def _thread(notice: Notice, sender: str) -> dict[str, str]:
    """Each mail has an id of its own, the same when it is sent again; all refer to one root that is never sent."""
    domain = parseaddr(sender)[1].rpartition("@")[2] or "localhost"
    root = f"<{_hash(wording.incident_key(notice))}@{domain}>"
    own = f"<{_hash(notice.dedup_key, notice.event, notice.at.isoformat())}@{domain}>"
    # Out-of-office replies to an alert help nobody.
    return {"Message-ID": own, "In-Reply-To": root, "References": root, "Auto-Submitted": "auto-generated"}


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode(errors="replace")).hexdigest()[:32]


def _judged(error: OSError) -> TransportError:
    """What the answer of a mail server means for this mail and for the channel."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        code, words = next(iter(error.recipients.values()))
        return _answered(code, words, permanent=all(code >= 500 for code in codes))
    if isinstance(error, smtplib.SMTPAuthenticationError):
        # Its words may repeat the user name. 4xx is a server in trouble, not a wrong password.
        wrong = error.smtp_code >= 500
        return TransportError(
            f"The mail server refused the login with {error.smtp_code}.", permanent=wrong, channel_broken=wrong
        )
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return TransportError(
            "The mail server cannot do what the settings ask for, such as TLS or a login.",
            permanent=True,
            channel_broken=True,
        )
    if isinstance(error, smtplib.SMTPResponseException):
        return _answered(error.smtp_code, error.smtp_error, permanent=error.smtp_code >= 500)
    return TransportError(f"The mail server cannot be reached: {type(error).__name__}.", permanent=False)


def _answered(code: int, words: bytes | str, *, permanent: bool) -> TransportError:
    text = words.decode(errors="replace") if isinstance(words, bytes) else words
    secret = str(django.EMAIL_HOST_PASSWORD or "")
    quoted = wording.one_line(text.replace(secret, "…") if secret else text, 200).rstrip(".")
    return TransportError(f"The mail server answered {code}: {quoted}.", permanent=permanent)
