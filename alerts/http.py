"""The one HTTP client, and the one place where a socket to a receiver is opened.

Neither vendor library is used. slack_sdk follows redirects, obeys proxy variables, logs at will and has no hook for
the socket; pagerduty waits and tries again for ever on a 429 and ignores Retry-After. Both hide the place where the
address that was checked becomes the address that is connected to, and what they save is one POST of a JSON object.
httpcore2, which comes with what we use anyway, has that place: its network backend.
"""

import os
import time
from collections.abc import Collection, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from ssl import SSLContext
from typing import Any

import httpcore2

from alerts.addresses import Address, AddressRefused, checked, resolved
from alerts.channels.base import TransportError

POOL_SIZE = 100
CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
RETRIES = 3
BACK_OFF_SECONDS = 0.3
# A task is stopped softly after 30 seconds. No new try begins after this, and no byte is waited for.
WHOLE_SECONDS = 25.0
# A receiver's answer is a word or a sentence; more is not read.
LONGEST_ANSWER = 16 * 1024
LONGEST_WISH = timedelta(hours=1)

_deadline: ContextVar[float] = ContextVar("deadline")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said, in good faith or not: its text is a stranger's."""

    status: int
    text: str
    retry_after: timedelta | None = None

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300


def post(url: str, body: bytes, headers: Mapping[str, str], *, hosts: Collection[str] = ()) -> Answer:
    """Post a JSON body; follow no redirect.

    Connection errors and 5xx are tried again, three times. What is still in the way then, a timeout, a 429 or a 408
    raises a temporary TransportError; an address where nothing is sent to, a permanent one. All other answers return.
    """
    return _request("POST", url, body, {"Content-Type": "application/json", **headers}, hosts)


def get(url: str) -> Answer:
    """Fetch an address for the sake of the fetching, as `post` does."""
    return _request("GET", url, b"", {}, ())


def close() -> None:
    """Let go of connections that are kept for later, and of the certificates that were trusted."""
    _pool().close()
    _pool.cache_clear()


def _request(method: str, url: str, body: bytes, headers: Mapping[str, str], hosts: Collection[str]) -> Answer:
    try:
        address = checked(url, hosts=hosts)
    except AddressRefused as refusal:
        raise TransportError(str(refusal), permanent=True, channel_broken=True) from None
    token = _deadline.set(time.monotonic() + WHOLE_SECONDS)
    try:
        return _until_answered(method, address, body, headers)
    except AddressRefused as refusal:
        # Not the channel's fault for certain: a resolver in trouble may answer with an address of its own.
        raise TransportError(str(refusal), permanent=True) from None
    except httpcore2.TimeoutException:
        raise TransportError(f"{address.host} did not answer in time.", permanent=False) from None
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        # Only the kind of error: its text and its causes may quote what was sent.
        raise TransportError(f"{address.host} cannot be reached: {type(error).__name__}.", permanent=False) from None
    finally:
        _deadline.reset(token)


def _until_answered(method: str, address: Address, body: bytes, headers: Mapping[str, str]) -> Answer:
    for pause in [BACK_OFF_SECONDS * 2**tried for tried in range(RETRIES)]:
        try:
            answer = _once(method, address, body, headers)
        except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
            if _seconds_left() < pause:
                raise
        else:
            # Who names a time is not asked again before it.
            if answer.status < 500 or answer.retry_after or _seconds_left() < pause:
                return _final(answer, address)
        time.sleep(pause)
    return _final(_once(method, address, body, headers), address)


def _final(answer: Answer, address: Address) -> Answer:
    if answer.status >= 500 or answer.status in {408, 429}:
        sentence = f"{address.host} answered {answer.status}."
        raise TransportError(sentence, permanent=False, retry_after=answer.retry_after)
    return answer


def _once(method: str, address: Address, body: bytes, headers: Mapping[str, str]) -> Answer:
    url = httpcore2.URL(
        scheme=address.scheme.encode(), host=address.host.encode(), port=address.port, target=address.target.encode()
    )
    sent: dict[bytes | str, bytes | str] = {"Host": address.host_header, "User-Agent": "finops-engine"}
    sent.update({"Content-Length": str(len(body)), **headers})
    timeouts = {"connect": CONNECT_SECONDS, "read": READ_SECONDS, "write": READ_SECONDS, "pool": CONNECT_SECONDS}
    with _pool().stream(method, url, headers=sent, content=body, extensions={"timeout": timeouts}) as response:
        text = b""
        for chunk in response.iter_stream():
            text += chunk
            if len(text) >= LONGEST_ANSWER:
                break
        named = {name.lower(): value for name, value in response.headers}
        return Answer(
            response.status, text[:LONGEST_ANSWER].decode(errors="replace"), _wish(named.get(b"retry-after", b""))
        )


def _wish(value: bytes) -> timedelta | None:
    """Seconds, as all the vendors say it; a date is left to our own back-off."""
    text = value.decode(errors="replace").strip()
    if not (text.isascii() and text.isdigit()):
        return None
    # Cut first: ten digits are more seconds than a timedelta of a useful length has.
    return min(timedelta(seconds=int(text[:9])), LONGEST_WISH)


class _CheckedNetwork(httpcore2.NetworkBackend):
    """Opens sockets only to addresses that were checked a moment before."""

    def __init__(self) -> None:
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        try:
            places = resolved(host, port)
        except (OSError, UnicodeError):
            # UnicodeError: a part of the name is longer than names can be.
            raise httpcore2.ConnectError("The name is unknown.") from None
        # A dead address among several must not use up the time of the others.
        share = _at_most(timeout) / len(places)
        for place in places[:-1]:
            try:
                return _TimedStream(self._sockets.connect_tcp(place, port, share))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return _TimedStream(self._sockets.connect_tcp(places[-1], port, share))


class _TimedStream(httpcore2.NetworkStream):
    """No wait outlasts the request: a receiver that sends a byte every nine seconds holds nobody."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _at_most(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _at_most(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, _at_most(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _seconds_left() -> float:
    return _deadline.get() - time.monotonic()


def _at_most(timeout: float | None) -> float:
    # A timeout of 0 would mean "do not wait" to a socket, and raise something else.
    return max(0.001, min(timeout or READ_SECONDS, _seconds_left()))


@cache
def _pool() -> httpcore2.ConnectionPool:
    """One for each process."""
    return httpcore2.ConnectionPool(max_connections=POOL_SIZE, keepalive_expiry=5.0, network_backend=_CheckedNetwork())


# Two processes that write to one socket would be read as one.
os.register_at_fork(after_in_child=_pool.cache_clear)
