"""Nothing is sent into the network that the server stands in, whatever an address looks like or turns into."""

import ipaddress
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from alerts import http
from alerts.addresses import AddressRefused, checked, resolved, why_refused
from alerts.channels.base import TransportError
from tests.alerts.vendors import CERTIFICATE, TLS_HOST, Reply, Vendor, webhook

PUBLIC, LOOPBACK = "93.184.215.14", "127.0.0.1"


def name_stands_for(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Fake the resolver; the answer is the list of names that it was asked for."""
    asked: list[str] = []
    original = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if str(host).replace(".", "").replace(":", "").isdigit():
            return original(host, port, *args, **more)
        asked.append(host)
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [(family, socket.SOCK_STREAM, 6, "", (it, port)) for family, it in zip(families, addresses, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.fixture
def receiver() -> Iterator[Vendor]:
    with webhook() as server:
        yield server


class TestTheText:
    @pytest.mark.parametrize(
        "url",
        [
            "https://example.com/hook",
            "https://example.com:8443/hook?token=x",
            f"https://{PUBLIC}/",
            "https://[2606:4700::1111]/",
            "HTTPS://EXAMPLE.COM/x",
        ],
    )
    def test_of_a_public_https_address_passes(self, url: str) -> None:
        assert checked(url).scheme == "https"

    def test_is_taken_apart_once(self) -> None:
        address = checked("https://Example.com:8443/a/b?c=d")

        assert (address.host, address.port, address.target) == ("example.com", 8443, "/a/b?c=d")
        assert address.host_header == "example.com:8443"
        assert checked("https://example.com").host_header == "example.com"

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("http://example.com/", "https://"),
            ("ftp://example.com/", "look like"),
            ("file:///etc/passwd", "look like"),
            ("//example.com/", "look like"),
            ("", "look like"),
            ("https://", "look like"),
            ("https://user@example.com/", "user name"),
            ("https://user:word@example.com/", "user name"),
            ("https://hooks.slack.com@evil.example/", "user name"),
            ("https://example.com\\@127.0.0.1/", "character"),
            ("https://example.com/\r\nHost: evil", "character"),
            ("https://exa mple.com/", "character"),
            ("https://müller.de/", "xn--"),
            ("https://example.com/#x", "#"),
            ("https://example.com:99999/", "not an address"),
            ("https://[::1/", "not an address"),
            ("https://[fe80::1%25eth0]/", "look like"),
            ("https://127.0.0.1/", "private"),
            ("https://127.1/", "usual form"),
            ("https://2130706433/", "usual form"),
            ("https://0x7f000001/", "usual form"),
            ("https://0x7f.1/", "usual form"),
            ("https://0177.0.0.1/", "usual form"),
            ("https://127.0.0.1./", "usual form"),
            ("https://[::1]/", "private"),
            ("https://[fc00::1]/", "no address on the public internet"),
            ("https://[::ffff:127.0.0.1]/", "private"),
        ],
    )
    def test_of_anything_else_is_refused_with_a_sentence(self, url: str, why: str) -> None:
        with pytest.raises(AddressRefused, match=why):
            checked(url)

    @pytest.mark.parametrize(
        "url",
        [
            "https://hooks.slack.com.evil.example/",
            "https://evil.example/hooks.slack.com",
            "https://hooks.slack.com:8443/",
            "http://hooks.slack.com/",
            "https://hooks.slack.com./",
            f"https://{PUBLIC}/",
        ],
    )
    def test_of_a_vendor_has_one_host(self, url: str) -> None:
        with pytest.raises(AddressRefused, match="https://"):
            checked(url, hosts={"hooks.slack.com"})

    def test_of_a_vendor_passes(self) -> None:
        assert checked("https://hooks.slack.com/services/x", hosts={"hooks.slack.com"}).host == "hooks.slack.com"


class TestTheNumbers:
    @pytest.mark.parametrize("ip", [PUBLIC, "1.1.1.1", "223.255.255.255", "2606:4700::1111", "64:ff9b::101:101"])
    def test_of_the_public_internet_pass(self, ip: str) -> None:
        assert why_refused(ipaddress.ip_address(ip)) == ""

    @pytest.mark.parametrize(
        "ip",
        "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.255 169.254.169.254 172.16.0.1 "
        "172.31.255.255 192.0.0.8 192.0.2.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 "
        "240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 "
        "64:ff9b:1::1 fe80::1 fc00::1 fd00:ec2::254 fec0::1 ff02::1 2001:db8::1 2002:7f00:1:: 2001::1 100::1".split(),
    )
    def test_of_every_other_place_are_refused(self, ip: str) -> None:
        assert why_refused(ipaddress.ip_address(ip))

    @pytest.mark.parametrize("edge", ["9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.32.0.0"])
    def test_right_beside_a_private_network_pass(self, edge: str) -> None:
        assert why_refused(ipaddress.ip_address(edge)) == ""


class TestTheName:
    def test_stands_for_public_addresses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        name_stands_for(monkeypatch, PUBLIC, "2606:4700::1111")

        assert resolved("hooks.example", 443) == [PUBLIC, "2606:4700::1111"]

    @pytest.mark.parametrize(
        "inside", [LOOPBACK, "169.254.169.254", "10.0.0.7", "::1", "::ffff:127.0.0.1", "fe80::1%eth0"]
    )
    def test_with_a_single_inner_address_is_refused(self, monkeypatch: pytest.MonkeyPatch, inside: str) -> None:
        name_stands_for(monkeypatch, PUBLIC, inside)

        with pytest.raises(AddressRefused, match="Nothing is sent to"):
            resolved("hooks.example", 443)

    def test_is_asked_for_once_and_cannot_change_its_mind(
        self, monkeypatch: pytest.MonkeyPatch, receiver: Vendor
    ) -> None:
        asked = name_stands_for(monkeypatch, LOOPBACK)

        with pytest.raises(TransportError, match="private") as refusal:
            http.post(f"https://rebind.example:{receiver.port}/", b"{}", {})

        assert asked == ["rebind.example"]
        assert refusal.value.permanent
        assert not refusal.value.channel_broken
        assert receiver.got == []

    def test_that_is_unknown_may_be_known_later(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(*_: Any, **__: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        monkeypatch.setattr(http, "BACK_OFF_SECONDS", 0)

        with pytest.raises(TransportError, match="cannot be reached") as error:
            http.get("https://nowhere.example/")
        assert not error.value.permanent

    def test_that_no_name_can_be_is_an_unknown_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, "BACK_OFF_SECONDS", 0)

        with pytest.raises(TransportError, match="cannot be reached"):
            http.get(f"https://{'a' * 64}.example/")


class TestTheConnection:
    @pytest.fixture
    def secure(self, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Vendor]:
        with webhook(CERTIFICATE) as server:
            settings.ALERT_TEST_ENDPOINTS = [server.origin]
            monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
            name_stands_for(monkeypatch, LOOPBACK)
            http.close()
            yield server
        http.close()

    def test_goes_to_the_number_and_speaks_to_the_name(self, secure: Vendor) -> None:
        answer = http.post(f"{secure.origin}/hook", b'{"a":1}', {"X-One": "1"})

        (request,) = secure.got
        assert answer.status == 200
        assert request.server_name == TLS_HOST
        assert request.headers["Host"] == f"{TLS_HOST}:{secure.port}"
        assert (request.method, request.path, request.json) == ("POST", "/hook", {"a": 1})
        assert request.headers["X-One"] == "1"

    def test_believes_no_certificate_that_nobody_vouches_for(
        self, secure: Vendor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("SSL_CERT_FILE")
        monkeypatch.setattr(http, "BACK_OFF_SECONDS", 0)

        with pytest.raises(TransportError, match="cannot be reached"):
            http.post(f"{secure.origin}/hook", b"{}", {})
        assert secure.got == []

    def test_believes_no_certificate_of_another_name(
        self, secure: Vendor, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.ALERT_TEST_ENDPOINTS = [f"https://other.finops.test:{secure.port}"]
        monkeypatch.setattr(http, "BACK_OFF_SECONDS", 0)

        with pytest.raises(TransportError, match="cannot be reached"):
            http.post(f"https://other.finops.test:{secure.port}/hook", b"{}", {})
        assert secure.got == []

    def test_tries_the_next_of_several_addresses(self, secure: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
        # Nobody listens at the first.
        name_stands_for(monkeypatch, "127.0.0.77", LOOPBACK)
        monkeypatch.setattr(http, "RETRIES", 0)

        assert http.get(f"{secure.origin}/").status == 200


class TestTheReceiversOfTests:
    def test_are_reached_without_tls(self, receiver: Vendor, settings: Settings) -> None:
        settings.ALERT_TEST_ENDPOINTS = [receiver.origin]

        assert http.get(f"{receiver.origin}/beat").status == 200

    def test_are_only_those_that_are_named(self, receiver: Vendor, settings: Settings) -> None:
        settings.ALERT_TEST_ENDPOINTS = [f"http://127.0.0.1:{receiver.port + 1}"]

        with pytest.raises(TransportError, match="https://") as refusal:
            http.get(f"{receiver.origin}/")
        assert refusal.value.channel_broken
        assert receiver.got == []

    def test_are_never_reached_when_none_is_named(self, receiver: Vendor) -> None:
        with pytest.raises(TransportError, match="https://"):
            http.get(f"{receiver.origin}/")
        assert receiver.got == []

    def test_stand_on_this_machine(self, settings: Settings) -> None:
        settings.ALERT_TEST_ENDPOINTS = ["http://169.254.169.254", f"http://{PUBLIC}"]

        for origin in settings.ALERT_TEST_ENDPOINTS:
            with pytest.raises(TransportError, match="on this machine"):
                http.get(f"{origin}/latest/meta-data/")

    def test_are_refused_in_production(self, settings: Settings) -> None:
        settings.ALERT_TEST_ENDPOINTS = ["http://127.0.0.1:8123"]
        found = [message.id for message in run_checks(tags=["security"], include_deployment_checks=True)]
        settings.ALERT_TEST_ENDPOINTS = []
        clean = [message.id for message in run_checks(tags=["security"], include_deployment_checks=True)]

        assert "alerts.E001" in found
        assert "alerts.E001" not in clean


class TestTheClient:
    @pytest.fixture(autouse=True)
    def _quick(self, receiver: Vendor, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.ALERT_TEST_ENDPOINTS = [receiver.origin]
        monkeypatch.setattr(http, "BACK_OFF_SECONDS", 0.001)

    def test_tries_a_server_error_three_times_more(self, receiver: Vendor) -> None:
        receiver.answers.extend([Reply(500), Reply(502), Reply(503)])

        assert http.post(f"{receiver.origin}/", b"{}", {}).status == 200
        assert len(receiver.got) == 4

    def test_then_leaves_it_to_the_outbox(self, receiver: Vendor) -> None:
        receiver.answers.extend([Reply(500)] * 4)

        with pytest.raises(TransportError, match="answered 500") as error:
            http.post(f"{receiver.origin}/", b"{}", {})
        assert not error.value.permanent
        assert len(receiver.got) == 4

    @pytest.mark.parametrize("status", [429, 503])
    def test_asks_nobody_again_who_named_a_time(self, receiver: Vendor, status: int) -> None:
        receiver.answers.append(Reply(status, retry_after=7))

        with pytest.raises(TransportError) as error:
            http.post(f"{receiver.origin}/", b"{}", {})
        assert error.value.retry_after is not None
        assert error.value.retry_after.total_seconds() == 7
        assert len(receiver.got) == 1

    @pytest.mark.parametrize(
        ("said", "seconds"),
        [("0", 0), ("99999999999999", 3600), ("-5", None), ("soon", None), ("Fri, 31 Dec 2027 23:59:59 GMT", None)],
    )
    def test_reads_a_wish_in_seconds_up_to_an_hour(self, receiver: Vendor, said: str, seconds: int | None) -> None:
        receiver.answers.append(Reply(429, retry_after=said))

        with pytest.raises(TransportError) as error:
            http.post(f"{receiver.origin}/", b"{}", {})
        wish = error.value.retry_after
        assert (wish.total_seconds() if wish is not None else None) == seconds

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_follows_no_redirect(self, receiver: Vendor, status: int) -> None:
        receiver.answers.append(Reply(status, location=f"{receiver.origin}/elsewhere"))

        assert http.post(f"{receiver.origin}/", b"{}", {}).status == status
        assert len(receiver.got) == 1

    def test_waits_no_longer_than_it_should_for_an_answer(
        self, receiver: Vendor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http, "READ_SECONDS", 0.1)
        receiver.answers.append(Reply(200, delay=5))

        with pytest.raises(TransportError, match="did not answer in time") as error:
            http.post(f"{receiver.origin}/", b"{}", {})
        assert not error.value.permanent
        # It may have arrived: whether to say it twice is not decided here.
        assert len(receiver.got) == 1

    def test_is_not_held_by_an_answer_that_drips(self, receiver: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, "WHOLE_SECONDS", 0.3)
        receiver.answers.append(Reply(200, "x" * 100, drip=0.05))

        with pytest.raises(TransportError, match="in time"):
            http.post(f"{receiver.origin}/", b"{}", {})

    def test_reads_no_more_of_an_answer_than_a_sentence_has(self, receiver: Vendor) -> None:
        receiver.answers.append(Reply(200, "x" * 1_000_000))

        assert len(http.get(f"{receiver.origin}/").text) == http.LONGEST_ANSWER

    def test_tries_three_times_more_where_nobody_listens(self, receiver: Vendor, settings: Settings) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        settings.ALERT_TEST_ENDPOINTS = [f"http://127.0.0.1:{port}"]

        with pytest.raises(TransportError, match="cannot be reached: ConnectError") as error:
            http.get(f"http://127.0.0.1:{port}/")
        assert not error.value.permanent

    def test_does_not_use_a_proxy_that_the_environment_names(
        self, receiver: Vendor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")

        assert http.get(f"{receiver.origin}/").status == 200

    def test_keeps_the_connection_for_the_next_message(self, receiver: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
        http.get(f"{receiver.origin}/")
        monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("a second connection"))

        assert http.get(f"{receiver.origin}/").status == 200


def test_the_certificate_of_the_tests_is_still_good() -> None:
    context = ssl.create_default_context(cafile=str(CERTIFICATE))

    assert context.get_ca_certs()
