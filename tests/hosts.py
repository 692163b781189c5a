"""Hosts of their own as network namespaces, each with one cable to this machine that can be pulled out.

The tests' servers listen on the loopback interface alone, so relays at this end of the cable lead on to them. Of a
client that vanished Postgres would hear on its own socket, as soon as that client has asked for; so a relay reads what
was asked for and does it in its place.
"""

import asyncio
import os
import re
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from finops_project.local.ports import LOOPBACK
from tests.servers import release

CHUNK = 65_536
# What Postgres sets on the socket of a client that begins with such options.
ASKED = {
    rb"tcp_keepalives_idle=(\d+)": socket.TCP_KEEPIDLE,
    rb"tcp_keepalives_interval=(\d+)": socket.TCP_KEEPINTVL,
    rb"tcp_keepalives_count=(\d+)": socket.TCP_KEEPCNT,
    rb"tcp_user_timeout=(\d+)": socket.TCP_USER_TIMEOUT,
}
SECONDS = 10


class Host:
    """What `within` stands before runs on it, and finds a server of this machine at `reached(url)`."""

    def __init__(self, name: str, gateway: str, relays: "Relays") -> None:
        self.name = name
        self.within = ("ip", "netns", "exec", name)
        self._gateway, self._relays = gateway, relays

    def reached(self, url: str) -> str:
        """The same server as seen from there; a path and a password stay."""
        parts = urlsplit(url)
        login, _, _ = parts.netloc.rpartition("@")
        port = self._relays.to(int(parts.port or 0))
        return urlunsplit(parts._replace(netloc=f"{login}@{self._gateway}:{port}"))

    def cut(self) -> None:
        """Packets vanish from now on, in both directions, and nobody is told."""
        _ip("link", "set", "dev", self.name, "down")

    def mend(self) -> None:
        _ip("link", "set", "dev", self.name, "up")

    def heard(self) -> int:
        """Packets that came from it over the cable."""
        return int((Path("/sys/class/net") / self.name / "statistics" / "rx_packets").read_text())


class Relays:
    """Carries connections at `address` to ports of this machine's loopback interface; runs in a thread of its own."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._loop = asyncio.new_event_loop()
        self._under_way = set[asyncio.Task[None]]()
        self._listening = list[asyncio.Server]()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def to(self, port: int) -> int:
        """The port at the address that leads to this one."""
        return asyncio.run_coroutine_threadsafe(self._listen(port), self._loop).result(SECONDS)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self, port: int) -> int:
        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task
            self._under_way.add(task)
            with suppress(OSError, asyncio.CancelledError):
                await _carry(reader, writer, port)
            self._under_way.discard(task)

        server = await asyncio.start_server(carry, self._address, 0)
        self._listening.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _end(self) -> None:
        for server in self._listening:
            server.close()
        for task in self._under_way:
            task.cancel()
        while self._under_way:
            await asyncio.sleep(0.01)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Both ways, until one side ends."""
    there_reader, there_writer = await asyncio.open_connection(LOOPBACK, port)
    own: socket.socket = writer.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    ways = [asyncio.ensure_future(_copy(reader, there_writer, own)), asyncio.ensure_future(_copy(there_reader, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        writer.close()
        there_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, own: socket.socket | None = None) -> None:
    while chunk := await reader.read(CHUNK):
        for asked, option in ASKED.items():
            if own and (found := re.search(asked, chunk)):
                own.setsockopt(socket.IPPROTO_TCP, option, int(found[1]))
        writer.write(chunk)
        await writer.drain()


@contextmanager
def hosts(*names: str) -> Iterator[list[Host]]:
    """So many hosts; the test is skipped with the reason where the machine allows no namespaces."""
    if not shutil.which("ip"):
        reason = "No `ip` is installed: install iproute2 to run these tests."
        if os.environ.get("FINOPS_REQUIRE_ALL"):
            pytest.fail(f"{reason} Nothing may be skipped.")
        pytest.skip(reason)
    with ExitStack() as stack:
        yield [stack.enter_context(_host(name)) for name in names]


def _try(*words: str) -> None:
    """What a machine may not allow, as a container without the right: a reason to skip wherever it is run."""
    try:
        _ip(*words)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"This machine allows no network namespaces: {error.stderr.strip()}")


@contextmanager
def _host(name: str) -> Iterator[Host]:
    # Others may run the same test on this machine; the names of interfaces have 15 characters at most.
    name = f"{name}-{secrets.token_hex(3)}"
    # Of 198.18.0.0/15, which is set aside for measuring, and so nobody's.
    block = 4 * secrets.randbelow(2**15)
    network, gateway, address = (f"198.{18 + (block >> 16)}.{block >> 8 & 255}.{block & 255 | end}" for end in range(3))
    # The cable by itself: connections that wait for an answer keep a namespace and what is in it for a while.
    removal = [f"ip link delete {name}", f"ip netns delete {name}", f"ip route delete blackhole {network}/30"]
    _try("netns", "add", name)
    watch = _remove_when_we_are_gone(removal)
    try:
        _try("link", "add", name, "type", "veth", "peer", "name", "cable", "netns", name)
        _ip("address", "add", f"{gateway}/30", "dev", name)
        _ip("link", "set", "dev", name, "up")
        for words in (("address", "add", f"{address}/30", "dev", "cable"), ("link", "set", "dev", "cable", "up")):
            _ip("-netns", name, *words)
        _ip("-netns", name, "link", "set", "dev", "lo", "up")
        # With the cable out the way there is gone, and what is sent must not go astray over another one.
        _ip("route", "add", "blackhole", f"{network}/30", "metric", "4000")
        relays = Relays(gateway)
        try:
            yield Host(name, gateway, relays)
        finally:
            relays.close()
    finally:
        release(watch)
        for command in removal:
            subprocess.run(command.split(), check=False, capture_output=True, timeout=SECONDS)


def _remove_when_we_are_gone(commands: Sequence[str]) -> subprocess.Popen[bytes]:
    """The namespace and its cable outlive a process that is killed; the end of this pipe is its death."""
    script = f"read -r _ || {{ {'; '.join(commands)}; }}"
    return subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=SECONDS)
