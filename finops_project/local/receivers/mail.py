"""A mail server that delivers nothing: as much SMTP as a client needs to hand over a message."""

import re
import socketserver
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from finops_project.local.ports import LOOPBACK
from finops_project.local.receivers.book import Answer, Book

LONGEST_LINE = 1_000
LONGEST_MAIL = 5 * 1024 * 1024
SILENCE_SECONDS = 60
TAKEN, TOO_LONG = Answer(250, "queued"), Answer(552, "too long")
ADDRESS = re.compile(r"<([^<>]*)>")


class MailServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, book: Book) -> None:
        self.book = book
        super().__init__((LOOPBACK, port), Session)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up in the middle has sent nothing; that is no news."""


@dataclass(slots=True)
class Envelope:
    recipients: list[str] = field(default_factory=list)


class Session(socketserver.StreamRequestHandler):
    server: MailServer
    timeout = SILENCE_SECONDS

    def handle(self) -> None:
        envelope = Envelope()
        self._say("220 stand-in for a mail server")
        while line := self.rfile.readline(LONGEST_LINE):
            verb = line.decode("latin-1").strip().partition(" ")[0].upper()
            match verb:
                case "EHLO":
                    self._say("250-localhost\r\n250-8BITMIME\r\n250 SMTPUTF8")
                case "MAIL" | "RSET":
                    envelope = Envelope()
                    self._say("250 ok")
                case "RCPT":
                    envelope.recipients += ADDRESS.findall(line.decode("utf-8", "replace"))
                    self._say("250 ok")
                case "DATA":
                    self._say("354 end with a dot")
                    self._take(envelope)
                case "HELO" | "NOOP":
                    self._say("250 ok")
                case "QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("502 not known here")

    def _take(self, envelope: Envelope) -> None:
        content = self._read_mail()
        answer = TAKEN if len(content) <= LONGEST_MAIL else TOO_LONG
        mail = message_from_bytes(content[:LONGEST_MAIL], policy=policy.default)
        self.server.book.keep("email", answer, told(mail, envelope.recipients))
        self._say(f"{answer.status} {answer.body}")

    def _read_mail(self) -> bytes:
        """Up to the line with a dot alone. What is too long is read to its end and cut, or the session is lost."""
        content = bytearray()
        while (line := self.rfile.readline()) not in {b".\r\n", b".\n", b""}:
            if len(content) <= LONGEST_MAIL:
                content += line.removeprefix(b".")
        return bytes(content)

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


def told(mail: EmailMessage, recipients: list[str]) -> dict[str, Any]:
    """What a reader sees, and the headers that make a conversation of several mails."""
    return {
        "from": str(mail.get("From", "")),
        "to": recipients,
        "subject": str(mail.get("Subject", "")),
        "message_id": str(mail.get("Message-ID", "")),
        "references": str(mail.get("References", "")),
        "text": _part(mail, "plain"),
        "html": _part(mail, "html"),
    }


def _part(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    if part is None:
        return ""
    try:
        return str(part.get_content()).replace("\r\n", "\n")
    except (LookupError, ValueError):
        # An encoding that nobody knows.
        return str(part.get_payload())
