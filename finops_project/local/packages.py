"""Install one lock file with pip and say how far it is; a file of its own, because nothing is installed yet.

`.venv/bin/python finops_project/local/packages.py requirements-local.txt` leaves pip's own words in .venv/install.log.
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

LOG = Path(sys.prefix) / "install.log"
EVERY_SECONDS = 5.0
PINNED = re.compile(r"^[A-Za-z0-9][^ ]*==", re.MULTILINE)
FETCHED, LEFT_OUT = ("Collecting ", "Processing "), ("Ignoring ", "Requirement already satisfied")
UNPACKING, FAILED = "Installing collected packages", "ERROR: "


def main() -> int:
    lock = Path(sys.argv[1])
    command = [sys.executable, "-m", "pip", "install", "--no-input", "--require-hashes", "--requirement", str(lock)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        for text in news(_kept(pip.stdout or []), len(PINNED.findall(lock.read_text()))):
            print(f"finops:   {text}", flush=True)
    return pip.returncode


def news(lines: Iterable[str], packages: int) -> Iterator[str]:
    """What of pip's output a person wants to read: counts every few seconds, and every error."""
    fetched, said = 0, time.monotonic()
    for line in lines:
        fetched += line.startswith(FETCHED)
        packages -= line.startswith(LEFT_OUT)
        if line.startswith(UNPACKING):
            yield f"{fetched} packages fetched, unpacking them"
        elif line.startswith(FAILED):
            yield line.strip()
        elif line.startswith(FETCHED) and time.monotonic() - said > EVERY_SECONDS:
            said = time.monotonic()
            yield f"{fetched} of {packages} packages fetched"


def _kept(lines: Iterable[str]) -> Iterator[str]:
    with LOG.open("w") as log:
        for line in lines:
            log.write(line)
            yield line


if __name__ == "__main__":
    sys.exit(main())
