"""SIGINT and SIGTERM as a request: the training step under way is finished and saved before the program ends."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

PATIENCE = 5.0  # seconds; torchrun repeats one Ctrl-C to its processes within milliseconds, a person asks again later


class StopRequest:
    """Within the block, SIGINT and SIGTERM only set `asked`; one more after PATIENCE seconds stops at once."""

    def __init__(self) -> None:
        self.asked = False
        self.name = "another process"
        self._first = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and time.monotonic() - self._first > PATIENCE:
            raise KeyboardInterrupt(f"stopped by a second {signal.Signals(number).name}")
        if not self.asked:
            self.asked, self.name, self._first = True, signal.Signals(number).name, time.monotonic()
