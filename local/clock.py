"""The virtual clock: time passes only when the world outside says so."""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

__all__ = ["Clock"]


@dataclass
class Clock:
    """A queue of things that will happen, each at its time; running it moves `now`.

    Deterministic: things due at the same moment happen in the order they were asked for.
    `on_move` is called with the new time at every move (the embedded cloud moves the
    process's own clock with it).
    """

    now: datetime
    on_move: Callable[[datetime], None] = lambda _: None
    _due: list[tuple[datetime, int, Callable[[], None]]] = field(default_factory=list)
    _order: "itertools.count[int]" = field(default_factory=itertools.count)

    def at(self, when: datetime, do: Callable[[], None]) -> None:
        """Have `do()` happen at `when`, or at once when that has passed."""
        heapq.heappush(self._due, (max(when, self.now), next(self._order), do))

    def after(self, delay: timedelta, do: Callable[[], None]) -> None:
        """Have `do()` happen `delay` from now."""
        self.at(self.now + delay, do)

    def run_until(self, when: datetime) -> None:
        """Let everything due up to and including `when` happen; `now` ends at `when`."""
        while self._due and self._due[0][0] <= when:
            self._step()
        self._move(max(when, self.now))

    def run_for(self, span: timedelta) -> None:
        """`run_until` the moment `span` from now."""
        self.run_until(self.now + span)

    def run_while(self, waiting: Callable[[], bool], limit: timedelta) -> bool:
        """Let things happen until `waiting()` is false; False when `limit` passed first."""
        end = self.now + limit
        while waiting():
            if not self._due or self._due[0][0] > end:
                self._move(end)
                return not waiting()
            self._step()
        return True

    def _step(self) -> None:
        when, _, do = heapq.heappop(self._due)
        self._move(when)
        do()

    def _move(self, when: datetime) -> None:
        if when != self.now:
            self.now = when
            self.on_move(when)
