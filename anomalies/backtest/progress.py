"""How far a backtest has come: a bar on a terminal; elsewhere a line every few seconds, so nothing when it is quick."""

import time
from typing import TextIO

WIDTH = 30
BAR_EVERY_SECONDS, LINE_EVERY_SECONDS = 0.1, 5.0


class Progress:
    def __init__(self, stream: TextIO, label: str) -> None:
        self._stream, self._label = stream, label
        self._is_terminal = stream.isatty()
        self._written = time.monotonic()
        self._shown = False

    def show(self, done: int, total: int) -> None:
        moment = time.monotonic()
        if moment - self._written >= (BAR_EVERY_SECONDS if self._is_terminal else LINE_EVERY_SECONDS):
            self._written, self._shown = moment, True
            share = min(done / max(total, 1), 1.0)
            text = f"{self._label} [{'#' * round(share * WIDTH):<{WIDTH}}] {share:4.0%}"
            self._stream.write(f"\r{text}" if self._is_terminal else f"{text}\n")
            self._stream.flush()

    def finish(self) -> None:
        if self._is_terminal and self._shown:
            self._stream.write("\r" + " " * (len(self._label) + WIDTH + 8) + "\r")
            self._stream.flush()
