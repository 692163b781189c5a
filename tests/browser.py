"""A headless Chromium, driven over its own debugging pipe: no driver, no package, no port.

A page is used as a person would: go somewhere, type, press what is seen, read. What it logs as an error and every
address it asks for are kept, so that a test can insist on none.
"""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers import guard, release

STEP_SECONDS = 20
FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)


class Browser:
    """One page. All waiting is bounded by STEP_SECONDS and ends with a TimeoutError that says for what."""

    def __init__(self, program: str, profile: Path) -> None:
        self.errors: list[str] = []
        self.addresses: list[str] = []
        self._next_id = 0
        self._unread = b""
        self._loads = 0
        command_reader, self._writer = os.pipe()
        self._reader, event_writer = os.pipe()
        # Chromium reads commands from descriptor 3 and writes answers to descriptor 4.
        script = f'exec "$@" 3<&{command_reader} 4>&{event_writer}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(command_reader, event_writer),
            start_new_session=True,
        )
        self._guard = guard(self._process.pid)
        os.close(command_reader)
        os.close(event_writer)
        self._session = ""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self.resize(1440, 900)

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(STEP_SECONDS)
        release(self._guard)
        os.close(self._reader)
        os.close(self._writer)

    def goto(self, url: str) -> None:
        before = self._loads
        self._call("Page.navigate", url=url)
        self._wait(lambda: self._loads > before, f"{url} to load")

    def fill(self, selector: str, text: str) -> None:
        """Replace what a field holds."""
        self.evaluate(f"(e => {{ e.focus(); e.value = {json.dumps(text)}; }})({_one(selector)})")

    def press(self, selector: str) -> None:
        """Click what leads to another page, and wait for it."""
        before = self._loads
        self.evaluate(f"{_one(selector)}.click()")
        self._wait(lambda: self._loads > before, f"the page behind {selector}")

    def click(self, selector: str) -> None:
        """Click what stays on the page."""
        self.evaluate(f"{_one(selector)}.click()")

    def follow(self, words: str) -> None:
        """Press the first link or button that reads like this; an icon before the words is a line of its own."""
        reads = f"e => e.innerText.trim().split('\\n').pop() === {json.dumps(words)}"
        found = f"[...document.querySelectorAll('a,button')].find({reads})"
        if not self.evaluate(f"Boolean({found})"):
            raise AssertionError(f"Nothing on the page reads {words!r}:\n{self.text()}")
        before = self._loads
        self.evaluate(f"{found}.click()")
        self._wait(lambda: self._loads > before, f"the page behind {words!r}")

    def text(self, selector: str = "body") -> str:
        """What a person reads there."""
        return str(self.evaluate(f"{_one(selector)}.innerText"))

    def evaluate(self, script: str) -> Any:
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def resize(self, width: int, height: int) -> None:
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700
        )

    def prefer_dark(self, dark: bool) -> None:
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[feature])

    def screenshot(self, file: Path) -> None:
        """The whole page, not only what fits the window."""
        answer = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(answer["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._next_id += 1
        number = self._next_id
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        found: list[dict[str, Any]] = []

        def answered() -> bool:
            found.extend(answer for answer in self._answers if answer.get("id") == number)
            return bool(found)

        self._answers: list[dict[str, Any]] = []
        self._wait(answered, method)
        if "error" in found[0]:
            raise AssertionError(f"{method}: {found[0]['error']}")
        result: dict[str, Any] = found[0]["result"]
        return result

    def _wait(self, condition: Any, what: str) -> None:
        deadline = time.monotonic() + STEP_SECONDS
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._reader], [], [], left)[0]:
                raise TimeoutError(f"Chromium did not finish in {STEP_SECONDS} s: {what}")
            self._read()

    def _read(self) -> None:
        chunk = os.read(self._reader, 1 << 20)
        if not chunk:
            raise RuntimeError("Chromium ended")
        *messages, self._unread = (self._unread + chunk).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers.append(message)
            else:
                self._note(message["method"], message["params"])

    def _note(self, method: str, event: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loads += 1
        elif method == "Network.requestWillBeSent":
            self.addresses.append(event["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(event["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "assert"):
            self.errors.append(json.dumps(event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] == "error":
            self.errors.append(f"{event['entry']['text']} {event['entry'].get('url', '')}")


def _one(selector: str) -> str:
    return f"document.querySelector({json.dumps(selector)})"


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium with an empty profile; the test is skipped where none is installed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        if os.environ.get("FINOPS_REQUIRE_ALL"):
            pytest.fail("No Chromium is installed, and nothing may be skipped.")
        pytest.skip("No Chromium is installed: install chromium to run the browser tests.")
    with tempfile.TemporaryDirectory(prefix="finops-chromium-", ignore_cleanup_errors=True) as profile:
        opened = Browser(program, Path(profile))
        try:
            yield opened
        finally:
            opened.close()
