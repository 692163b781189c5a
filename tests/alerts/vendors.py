"""Receivers on this machine that behave like Slack, PagerDuty, a webhook of a customer's and a mail server.

They keep what they got, and fail on request: `vendor.answers.append(Reply(429, retry_after=3))` is what the next
request hears, then the next; afterwards the vendor behaves as its documentation says. `origin` belongs into
ALERT_TEST_ENDPOINTS.
"""

import json
import re
import socketserver
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

# A certificate for TLS_HOST, and its key: only what names this file as its authority trusts it.
CERTIFICATE = Path(__file__).with_name("hooks.finops.test.pem")
TLS_HOST = "hooks.finops.test"


@dataclass(frozen=True)
class Reply:
    """What a vendor says to one request. It first waits `delay`, and with `drip` sends its body byte by byte."""

    status: int
    body: str = ""
    retry_after: str | int | None = None
    location: str = ""
    delay: float = 0
    drip: float = 0


@dataclass(frozen=True)
class Request:
    """What a vendor got. `server_name` is the name that TLS was asked for."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    server_name: str | None = None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Vendor:
    """An HTTP server on a free port."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.got: list[Request] = []
        self.answers: deque[Reply] = deque()
        self.server_names: list[str | None] = []
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server = _Server(self)
        if certificate:
            self._server.socket = self._tls(certificate).wrap_socket(self._server.socket, server_side=True)
        self.scheme, self.host = ("https", TLS_HOST) if certificate else ("http", "127.0.0.1")
        self.port = int(self._server.server_address[1])

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return self.origin

    def reply(self, request: Request) -> Reply:
        """What the vendor says when nothing else was asked for."""
        return Reply(200, "ok")

    def handle(self, request: Request) -> Reply:
        with self._lock:
            self.got.append(request)
            reply = self.answers.popleft() if self.answers else self.reply(request)
        self._released.wait(reply.delay)
        return reply

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            # Whoever hangs is let go first.
            self._released.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def _tls(self, certificate: Path) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.sni_callback = lambda _, name, __: self.server_names.append(name)
        return context


class SlackServer(Vendor):
    """An incoming webhook: plain words as errors, the limits of Block Kit, about one message a second if asked."""

    PATH = "/services/T000/B000/canary-of-slack"

    def __init__(self) -> None:
        super().__init__()
        self.seconds_between = 0.0
        self._last = 0.0

    @property
    def url(self) -> str:
        return self.origin + self.PATH

    @property
    def messages(self) -> list[Any]:
        return [request.json for request in self.got]

    def reply(self, request: Request) -> Reply:
        if request.path != self.PATH:
            return Reply(404, "no_service")
        if self.seconds_between and time.monotonic() - self._last < self.seconds_between:
            return Reply(429, "rate_limited", retry_after=1)
        if not _slack_accepts(request.body):
            return Reply(400, "invalid_payload")
        self._last = time.monotonic()
        return Reply(200, "ok")


class PagerDutyServer(Vendor):
    """The Events API v2: `incidents` is the state of every key, `triggered` how often each was triggered."""

    ROUTING_KEY = "canary0of0pagerduty0routing0key0"
    ACTIONS: ClassVar = {"trigger": "triggered", "acknowledge": "acknowledged", "resolve": "resolved"}

    def __init__(self) -> None:
        super().__init__()
        self.incidents: dict[str, str] = {}

    @property
    def events(self) -> list[Any]:
        return [request.json for request in self.got]

    def reply(self, request: Request) -> Reply:
        errors = self._errors(request)
        if errors:
            told = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
            return Reply(400, json.dumps(told))
        event = request.json
        key = event["dedup_key"]
        # Who resolves what is not open is told that all is well, as by the vendor.
        if event["event_action"] == "trigger" or key in self.incidents:
            self.incidents[key] = self.ACTIONS[event["event_action"]]
        return Reply(202, json.dumps({"status": "success", "message": "Event processed", "dedup_key": key}))

    def _errors(self, request: Request) -> list[str]:
        event = request.json
        if request.path != "/v2/enqueue" or len(request.body) > 512 * 1024:
            return ["Request is invalid"]
        if len(event.get("routing_key", "")) != 32:
            return ["Length of 'routing_key' is incorrect (should be 32 characters)"]
        if event["routing_key"] != self.ROUTING_KEY:
            return ["Invalid routing key"]
        if event.get("event_action") not in self.ACTIONS or len(event.get("dedup_key", "")) not in range(1, 256):
            return ["'event_action' or 'dedup_key' is invalid"]
        payload = event.get("payload")
        if event["event_action"] == "trigger":
            if not payload or not payload.get("source") or not 0 < len(payload.get("summary", "")) <= 1024:
                return ["'payload.summary' or 'payload.source' is missing or too long"]
            if payload.get("severity") not in {"critical", "error", "warning", "info"}:
                return ["'payload.severity' is invalid"]
        return []


@contextmanager
def slack() -> Iterator[SlackServer]:
    server = SlackServer()
    with server.running():
        yield server


@contextmanager
def pagerduty() -> Iterator[PagerDutyServer]:
    server = PagerDutyServer()
    with server.running():
        yield server


@contextmanager
def webhook(certificate: Path | None = None) -> Iterator[Vendor]:
    """A receiver that takes everything; with a certificate it speaks TLS as `hooks.finops.test`."""
    server = Vendor(certificate)
    with server.running():
        yield server


class MailServer:
    """An SMTP server. `answers["RCPT"] = "550 5.1.1 no such user"` is what each such command hears from then on.

    Commands: CONNECT (the greeting), EHLO, AUTH, MAIL, RCPT (or `RCPT name@host` for one address only), DATA, END (the
    message's end). `silent` servers accept and never say a word.
    """

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.answers: dict[str, str] = {}
        self.silent = False
        self.released = threading.Event()
        self._server = _MailListener(("127.0.0.1", 0), _MailHandler)
        self._server.mail_server = self
        self.host, self.port = "127.0.0.1", int(self._server.server_address[1])

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.released.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


@contextmanager
def smtp() -> Iterator[MailServer]:
    server = MailServer()
    with server.running():
        yield server


@dataclass
class _Envelope:
    recipients: list[str] = field(default_factory=list)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Joining would wait for connections that the client keeps alive.
    block_on_close = False

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that give up are what half of the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        vendor = self.server.vendor
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = vendor.server_names[-1] if vendor.server_names else None
        reply = vendor.handle(Request(self.command, self.path, dict(self.headers), body, name))
        with suppress(OSError):
            self._say(reply)

    do_GET = do_POST

    def _say(self, reply: Reply) -> None:
        body = reply.body.encode()
        self.send_response(reply.status)
        self.send_header("Content-Length", str(len(body)))
        if reply.retry_after is not None:
            self.send_header("Retry-After", str(reply.retry_after))
        if reply.location:
            self.send_header("Location", reply.location)
        self.end_headers()
        if not reply.drip:
            self.wfile.write(body)
            return
        for byte in body:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(reply.drip)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _MailListener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    mail_server: MailServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class _MailHandler(socketserver.StreamRequestHandler):
    server: _MailListener

    def handle(self) -> None:
        mail_server, envelope = self.server.mail_server, _Envelope()
        if mail_server.silent:
            mail_server.released.wait()
            return
        if not self._say("CONNECT", "220 mail.test ready"):
            return
        while line := self.rfile.readline().decode("latin-1").strip():
            if not self._obey(line, envelope):
                return

    def _obey(self, line: str, envelope: _Envelope) -> bool:
        """False ends the session."""
        verb = line.split(" ")[0].split(":")[0].upper()
        if verb == "QUIT":
            self.wfile.write(b"221 bye\r\n")
            return False
        if verb == "EHLO":
            return self._say("EHLO", "250-mail.test\r\n250 AUTH PLAIN")
        if verb == "RCPT":
            found = re.search(r"<(.*?)>", line)
            recipient = found[1] if found else ""
            refusal = self.server.mail_server.answers.get(f"RCPT {recipient}")
            envelope.recipients.append(recipient)
            return self._write(refusal) if refusal else self._say("RCPT", "250 ok")
        if verb == "DATA":
            return self._take_mail(envelope)
        return self._say(verb, "235 welcome" if verb == "AUTH" else "250 ok")

    def _take_mail(self, envelope: _Envelope) -> bool:
        if not self._say("DATA", "354 go on") or "DATA" in self.server.mail_server.answers:
            return True
        lines = []
        while (line := self.rfile.readline()) not in {b".\r\n", b""}:
            lines.append(line.removeprefix(b"."))
        if "END" not in self.server.mail_server.answers:
            mail = message_from_bytes(b"".join(lines), policy=policy.default)
            self.server.mail_server.mails.append(mail)
            self.server.mail_server.recipients.append(envelope.recipients)
        return self._say("END", "250 queued")

    def _say(self, command: str, usual: str) -> bool:
        said = self.server.mail_server.answers.get(command, usual)
        return self._write(said) and not said.startswith(("421", "554 no service"))

    def _write(self, said: str) -> bool:
        self.wfile.write(said.encode() + b"\r\n")
        return True


def _slack_accepts(body: bytes) -> bool:
    try:
        message = json.loads(body)
    except ValueError:
        return False
    blocks = message.get("blocks", [])
    return bool(message.get("text")) and len(blocks) <= 50 and all(map(_slack_accepts_block, blocks))


def _slack_accepts_block(block: dict[str, Any]) -> bool:
    match block["type"]:
        case "header":
            return block["text"]["type"] == "plain_text" and len(block["text"]["text"]) <= 150
        case "section":
            fields = block.get("fields", [])
            text = block.get("text", {"text": "-"})["text"]
            return 0 < len(text) <= 3_000 and len(fields) <= 10 and all(len(field["text"]) <= 2_000 for field in fields)
        case "context":
            return 0 < len(block["elements"]) <= 10
        case _:
            return False
