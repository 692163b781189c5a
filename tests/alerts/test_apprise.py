"""Apprise is off, then limited to services whose host is fixed."""

from importlib.util import find_spec
from typing import Any

import pytest
from pytest_django import Settings

from alerts.channels import TRANSPORTS
from alerts.channels.apprise import Apprise
from alerts.channels.base import TransportError
from tests.alerts.notices import notice

DISCORD = {"url": "discord://1234567890/canary-of-discord"}
installed = pytest.mark.skipif(find_spec("apprise") is None, reason="Apprise is optional and not installed here.")


def test_it_is_off_unless_it_is_turned_on() -> None:
    with pytest.raises(ValueError, match="FINOPS_APPRISE_ENABLED"):
        TRANSPORTS["apprise"].check(DISCORD)
    with pytest.raises(TransportError, match="turned off") as error:
        Apprise().send(notice(), DISCORD)
    assert error.value.channel_broken


def test_it_says_that_it_is_not_installed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.FINOPS_APPRISE_ENABLED = True
    monkeypatch.setattr("alerts.channels.apprise.find_spec", lambda _: None)

    with pytest.raises(ValueError, match="not installed"):
        TRANSPORTS["apprise"].check(DISCORD)


@pytest.mark.parametrize(
    "url",
    [
        "",
        None,
        "json://169.254.169.254/",
        "xmls://example.com/",
        "slack://a/b/c",
        "mailto://user:pass@example.com",
        "discord://1234567890/token?redirect=yes",
        "discord://1234567890/token?verify=no",
        "discord://1/t, json://localhost",
        "DISCORD://1/t",
        "file:///etc/passwd",
    ],
)
def test_it_reaches_only_hosts_that_nobody_can_choose(settings: Settings, url: Any) -> None:
    with pytest.raises(ValueError, match="one of these"):
        _checked_as_if_installed(settings, url)


def _checked_as_if_installed(settings: Settings, url: Any) -> None:
    settings.FINOPS_APPRISE_ENABLED = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("alerts.channels.apprise.find_spec", lambda _: object())
        Apprise().check({"url": url})


@installed
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its own imports
def test_an_address_that_it_does_not_understand_is_refused(settings: Settings) -> None:
    settings.FINOPS_APPRISE_ENABLED = True

    Apprise().check(DISCORD)
    with pytest.raises(ValueError, match="does not understand"):
        Apprise().check({"url": "tgram://x"})
