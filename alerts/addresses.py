"""Where alerts may be sent: public https addresses, and nothing inside the network that this server stands in.

An address is checked twice: as a text, when it is saved and before each use, and as the numbers that its name stands
for, when the socket is opened. The socket then goes to exactly those numbers, so a name cannot change its mind between.
"""

import ipaddress
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

IP = ipaddress.IPv4Address | ipaddress.IPv6Address
_DEFAULT_PORTS = {"https": 443, "http": 80}
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?\.?|[0-9a-f:.]+", re.ASCII)
# What `inet_aton` takes for an IPv4 address: 2130706433, 0x7f.1 and 0177.0.0.1 all are 127.0.0.1.
_ENDS_IN_A_NUMBER = re.compile(r"(.*\.)?(0x[0-9a-f]*|[0-9]+)\.?", re.ASCII)
# Anything else in an IPv6 address is no place on the internet, or carries an IPv4 address that is looked at instead.
_IPV6_INTERNET = ipaddress.ip_network("2000::/3")
_CARRIES_IPV4 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))
# Some of these are "global" to older releases of Python.
_SPECIAL = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 "
        "192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 "
        "203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20"
    ).split()
]


class AddressRefused(ValueError):
    """A sentence why nothing is sent there. It names the host at most: the rest of an address may be a secret."""


@dataclass(frozen=True, slots=True)
class Address:
    """A checked address in parts, so that nobody after us parses the text again and reads it differently."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def checked(url: str, *, hosts: Collection[str] = ()) -> Address:
    """The address, if its text allows sending there: https, one of `hosts` if there are any. Else AddressRefused."""
    address = _parsed(url)
    if _is_test_endpoint(address):
        return address
    if address.scheme != "https":
        raise AddressRefused("The address must begin with https://.")
    if hosts and (address.host not in hosts or address.port != _DEFAULT_PORTS["https"]):
        raise AddressRefused(f"The address must begin with https://{' or https://'.join(sorted(hosts))}.")
    if _ENDS_IN_A_NUMBER.fullmatch(address.host) or ":" in address.host:
        _refuse(_literal(address.host))
    return address


def resolved(host: str, port: int) -> list[str]:
    """What the name stands for now, as IP addresses. AddressRefused if a single one of them is not public."""
    found = {entry[4][0]: None for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    for text in found:
        # A scope, as in fe80::1%eth0, is not part of the number.
        ip = ipaddress.ip_address(str(text).partition("%")[0])
        if _is_test_port(host, port):
            _refuse_unless_loopback(ip)
        else:
            _refuse(ip)
    return [str(text) for text in found]


def why_refused(ip: IP) -> str:
    """Why nothing is sent to this number, or an empty text if it is a place on the public internet."""
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or _carried(ip)
        if inner:
            return why_refused(inner)
        if ip not in _IPV6_INTERNET:
            return "it is no address on the public internet"
    if any(ip in network for network in _SPECIAL if network.version == ip.version):
        return "it is a private or reserved address"
    return "" if ip.is_global and not ip.is_multicast else "it is a private or reserved address"


def _parsed(url: str) -> Address:
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise AddressRefused("The address contains a character that no address has; a name like müller.de is xn--….")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or ""), parts.port
    except ValueError:
        raise AddressRefused("This is not an address.") from None
    if parts.scheme not in _DEFAULT_PORTS or not _HOST.fullmatch(host):
        raise AddressRefused("The address must look like https://host/path.")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused("The address must not contain a user name or a password.")
    if parts.fragment:
        raise AddressRefused("The address must not contain a #.")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], target)


def _literal(host: str) -> IP:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        raise AddressRefused("The host must be a name, or an IP address in its usual form.") from None


def _carried(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if any(ip in network for network in _CARRIES_IPV4):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return None


def _refuse(ip: IP) -> None:
    if reason := why_refused(ip):
        raise AddressRefused(f"Nothing is sent to {ip}: {reason}.")


def _refuse_unless_loopback(ip: IP) -> None:
    if not ip.is_loopback:
        raise AddressRefused(f"Nothing is sent to {ip}: ALERT_TEST_ENDPOINTS is for receivers on this machine.")


def _test_endpoints() -> list[Address]:
    return [_parsed(origin) for origin in settings.ALERT_TEST_ENDPOINTS]


def _is_test_endpoint(address: Address) -> bool:
    where = (address.scheme, address.host, address.port)
    return any((known.scheme, known.host, known.port) == where for known in _test_endpoints())


def _is_test_port(host: str, port: int) -> bool:
    return any((known.host, known.port) == (host, port) for known in _test_endpoints())
