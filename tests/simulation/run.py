"""Runs of functions, which can stand still in the middle while the world goes on.

A run that may stand still has a thread of its own, but only one thread ever moves: the scheduler
hands the baton to a run and waits until it hands it back. So everything stays deterministic.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from local.clock import Clock
from tests.simulation.wire import Crash, Wire

__all__ = ["Run"]


class Run:
    """One run of a function: `body` until it ends, `limit` passes, or it crashes.

    `ended` is told of the exception that ended it, None for none.
    """

    def __init__(  # noqa: PLR0913 - a run has these parts
        self,
        name: str,
        clock: Clock,
        wire: Wire,
        limit: timedelta,
        body: Callable[[], None],
        ended: Callable[[BaseException | None], None],
    ) -> None:
        self.name = name
        self.began: datetime = clock.now
        self._clock = clock
        self._wire = wire
        self._limit = limit
        self._body = body
        self._ended = ended
        self._error: BaseException | None = None
        self._over = False
        self._thread: threading.Thread | None = None
        # Each side waits for its own lock, and hands the baton over by opening the other's.
        self._mine, self._theirs = threading.Lock(), threading.Lock()
        self._mine.acquire()
        self._theirs.acquire()
        self._killed = False
        self.has_paused = False

    @property
    def is_over(self) -> bool:
        return self._over

    @property
    def may_pause(self) -> bool:
        return self._thread is not None

    def start(self, may_pause: bool) -> None:
        """Run until the end, or until the first pause."""
        if may_pause:
            self._thread = threading.Thread(target=self._in_thread, daemon=True)
            self._thread.start()
            self._go_on()
        else:
            self._as_actor(self._finish)
            self._ended(self._error)

    def pause(self, span: timedelta) -> None:
        """Called by the run itself, through the wire."""
        left = self.began + self._limit - self._clock.now
        self.has_paused = True
        if span >= left:
            # Lambda ends a function whose time is over, wherever it stands.
            self._clock.after(left, self.kill)
        else:
            self._clock.after(span, self._go_on)
        self._theirs.release()
        self._mine.acquire()
        if self._killed:
            raise Crash

    def kill(self) -> None:
        """End a run that stands still."""
        self._killed = True
        self._go_on()

    def _go_on(self) -> None:
        assert self._thread is not None
        self._as_actor(self._hand_over)
        if self._over:
            self._thread.join()
            self._ended(self._error)

    def _hand_over(self) -> None:
        self._mine.release()
        self._theirs.acquire()

    def _as_actor(self, do: Callable[[], None]) -> None:
        before, self._wire.actor = self._wire.actor, self
        try:
            do()
        finally:
            self._wire.actor = before

    def _in_thread(self) -> None:
        self._mine.acquire()
        self._finish()
        self._theirs.release()

    def _finish(self) -> None:
        try:
            self._body()
        except BaseException as error:
            self._error = error
        self._over = True
