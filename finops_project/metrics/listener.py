"""The metrics port: open, so on loopback only or behind a network policy."""

import logging
import socketserver
import threading
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIEnvironment

from django.conf import settings
from django.db import connections

from finops_project.metrics import exposition

log = logging.getLogger(__name__)

READING = ("GET", "HEAD")
PATHS = ("/metrics", "/metrics/")


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # All processes of a web server listen, and whichever is asked answers for all.
    allow_reuse_port = True


class _Handler(WSGIRequestHandler):
    timeout = 10

    def log_message(self, format: str, *arguments: object) -> None:
        """A scrape every few seconds is no news."""


def start() -> None:
    """Answer Prometheus in a thread of this process; a port that is taken is logged, and the process goes on."""
    if not settings.FINOPS_METRICS_PORT:
        return
    try:
        server = _Server((settings.FINOPS_METRICS_HOST, settings.FINOPS_METRICS_PORT), _Handler)
    except OSError as error:
        log.error("no metrics on port %d: %s", settings.FINOPS_METRICS_PORT, error)
        return
    server.set_app(answer)
    threading.Thread(target=server.serve_forever, name="finops-metrics", daemon=True).start()


def answer(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """WSGI: GET /metrics."""
    if environ["PATH_INFO"] not in PATHS:
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"Only /metrics is here.\n"]
    if environ["REQUEST_METHOD"] not in READING:
        start_response("405 Method Not Allowed", [("Content-Type", "text/plain"), ("Allow", ", ".join(READING))])
        return [b"This can only be read.\n"]
    try:
        content = exposition.render(with_ledger=settings.FINOPS_METRICS_LEDGER)
    finally:
        # No request of Django's ends here, which would give them back.
        connections.close_all()
    start_response("200 OK", [("Content-Type", exposition.CONTENT_TYPE), ("Content-Length", str(len(content)))])
    return [content]
