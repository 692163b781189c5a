"""The stand-ins' HTTP side: two vendors to post to, one page for people, one document for programs."""

import json
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any

from finops_project.local.ports import LOOPBACK
from finops_project.local.receivers import page, vendors
from finops_project.local.receivers.book import Answer, Book

VENDORS = {"/slack": ("slack", vendors.slack), "/v2/enqueue": ("pagerduty", vendors.pagerduty)}
PAGE, DOCUMENT, MAIL = "/", "/messages.json", "/mail/"
# A mail is a stranger's page: it may look as it likes, and do nothing.
HARMLESS = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
LONGEST_BODY = 1024 * 1024
TEXT, JSON, HTML = "text/plain; charset=utf-8", "application/json", "text/html; charset=utf-8"


class WebServer(ThreadingHTTPServer):
    """`stands_in_for` names the channels that are sent here."""

    daemon_threads = True

    def __init__(self, port: int, book: Book, stands_in_for: Sequence[str]) -> None:
        self.book = book
        self.stands_in_for = list(stands_in_for)
        super().__init__((LOOPBACK, port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up in the middle is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Header and body leave in two packets; without this Nagle holds the second back for 40 ms.
    disable_nagle_algorithm = True
    timeout = 60
    server: WebServer

    def do_GET(self) -> None:
        book = self.server.book
        if not self._is_meant():
            self._send(Answer(421, "This is 127.0.0.1 only."))
        elif self.path == PAGE:
            self._send(Answer(200, page.render(book.messages(), book.incidents())), HTML)
        elif self.path == DOCUMENT:
            content = {
                "stands_in_for": self.server.stands_in_for,
                "messages": [message.to_json() for message in book.messages()],
                "incidents": book.incidents(),
            }
            self._send(Answer(200, json.dumps(content)), JSON)
        elif self.path.startswith(MAIL):
            self._send(self._mail(self.path.removeprefix(MAIL)), HTML, {"Content-Security-Policy": HARMLESS})
        else:
            self._send(Answer(404, "There are / and /messages.json."))

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if self.path not in VENDORS or length > LONGEST_BODY:
            # Its body is not read, so nothing can follow on this connection.
            self.close_connection = True
            self._send(Answer(404, "no_service") if self.path not in VENDORS else Answer(413, "too long"))
            return
        channel, answered = VENDORS[self.path]
        answer, content = answered(self.rfile.read(length))
        self.server.book.keep(channel, answer, content)
        self._send(answer, JSON if channel == "pagerduty" else TEXT)

    def do_DELETE(self) -> None:
        if self.path != DOCUMENT or not self._is_meant():
            self._send(Answer(404, "There is /messages.json."))
            return
        self.server.book.empty()
        self._send(Answer(204, ""))

    def _mail(self, number: str) -> Answer:
        for message in self.server.book.messages():
            if str(message.number) == number and message.content.get("html"):
                return Answer(200, message.content["html"])
        return Answer(404, "There is no such mail.")

    def _is_meant(self) -> bool:
        """A page elsewhere, whose name is made to lead here, must not read this."""
        return self.headers.get("Host") in {f"{name}:{self.server.server_port}" for name in (LOOPBACK, "localhost")}

    def _send(
        self, answer: Answer, content_type: str = TEXT, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        body = answer.body.encode(errors="replace")
        self.send_response(answer.status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the page says what came."""
