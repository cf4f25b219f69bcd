"""Lets the time of a world pass, in a thread of its own, and moves the robot meanwhile."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mimo_embodied_ros.ros.process import until_shutdown
from mimo_embodied_ros.worlds.world import TICK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mimo_embodied_ros.worlds.world import Motion, View, World

_POLL_S = 0.05  # how often a world that stands still looks for motions that are to stop
_WAIT_S = 0.002  # how often is looked whether the world may go on
_LAG_S = 0.2  # behind real time, from which on it is not caught up with any more
_LET_S = 1e-4  # between two ticks, in which others get the lock

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class End:
    """How a motion ended.

    Attributes:
        problem: the failure that the robot noticed, or why the motion was stopped; empty: none.
        stopped: whether it was stopped before its end.
        time: of the world, seconds.

    """

    problem: str
    stopped: bool
    time: float


@dataclass(eq=False)
class _Running:
    motion: Motion
    parts: frozenset[str]
    stop: Callable[[], bool]
    done: Callable[[End], None]
    name: str


class WorldRunner:
    """Steps a world by ticks of `TICK` seconds.

    The world's own time begins anew with a reset; the time here goes on, so that ROS's clock never
    falls back.

    Attributes:
        world: that is stepped.
        rate: seconds of the world in a second; 0: as many as can be.
        must_wait: whether the world must not go on yet, as for images that are due.

    """

    def __init__(self, world: World, rate: float = 1.0, *, paused: bool = False) -> None:
        """Take a world; `start` lets its time pass.

        Args:
            world: that is stepped.
            rate: seconds of the world in a second; 0: as many as can be.
            paused: whether it stands still at first.

        """
        self.world, self.rate = world, rate
        self._paused, self._steps, self._closing = paused, 0, False
        self._offset = TICK  # a stamp of 0 would mean that there is none
        self._due = time.monotonic()
        self._running: list[_Running] = []
        self._ended: list[tuple[_Running, End]] = []
        self._changed = threading.Condition(threading.RLock())
        self._scene = threading.Lock()  # a look and a reset exclude each other
        self._thread = threading.Thread(target=self._run, name='world', daemon=True)
        self.must_wait: Callable[[], bool] = lambda: False
        self._on_tick: list[Callable[[], None]] = []

    @property
    def time(self) -> float:
        """Seconds of simulated time, which never falls back."""
        return self._offset + self.world.time

    @property
    def paused(self) -> bool:
        """Whether the world stands still."""
        return self._paused

    def start(self, *on_tick: Callable[[], None]) -> None:
        """Let time pass; the functions are called after each tick, in the world's thread."""
        self._on_tick += on_tick
        self._thread.start()

    def close(self) -> None:
        """Stop all motions, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    @contextlib.contextmanager
    def held(self) -> Iterator[World]:
        """Hold the world still, in order to read or change it."""
        with self._changed:
            yield self.world

    def look(self, camera: str) -> tuple[View, float]:
        """Return what a camera sees, and when, seconds of simulated time."""
        with self._scene:
            view = self.world.look(camera)
            return view, self._offset + view.time

    def pause(self, *, paused: bool) -> bool:
        """Let the world stand still or go on; return whether that changed anything."""
        with self._changed:
            changed = self._paused != paused
            self._paused, self._steps, self._due = paused, 0, time.monotonic()
            self._changed.notify_all()
            return changed

    def step(self, ticks: int) -> bool:
        """Let a paused world go on by ticks, and wait for them; False: it is not paused."""
        with self._changed:
            if not self._paused:
                return False
            self._steps += ticks
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._steps or self._closing)
            return self._paused

    def reset(self, seed: int | None = None) -> None:
        """Stop all motions, and begin anew: with another scene, or with None the same one."""
        with self._scene, self._changed:
            self._stop_all('the world was reset')
            now = self.time
            self.world.reset(seed)
            self._offset = now + TICK
            self._changed.notify_all()

    def run(
        self, motion: Motion, name: str, parts: frozenset[str], done: Callable[[End], None],
        stop: Callable[[], bool] = lambda: False,
    ) -> str:
        """Begin a motion.

        Args:
            motion: of the robot.
            name: in words, for those that come meanwhile.
            parts: of the robot, which make one motion at a time.
            done: called in the world's thread when the motion has ended.
            stop: asked at each tick; True ends the motion.

        Returns:
            Why the motion cannot begin; empty: it has begun.

        """
        with self._changed:
            other = next((r for r in self._running if r.parts & parts), None)
            if other is not None:
                return f'the robot is busy ({other.name}); wait for its end, or cancel it'
            self._running.append(_Running(motion, parts, stop, done, name))
            self._changed.notify_all()
            return ''

    # -- in the world's thread

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closing:
                    self._stop_all('the simulation ends')
                elif not self._must_wait():
                    self._tick()
                closing, ended, self._ended = self._closing, self._ended, []
            for running, end in ended:
                running.done(end)
            if closing:
                return
            time.sleep(_LET_S)

    def _must_wait(self) -> bool:
        """Wait for a moment where it is too early for a tick; return whether it was."""
        for running in [r for r in self._running if r.stop()]:
            self._stop(running, 'the motion was cancelled')
        if self._ended or self._steps:
            return bool(self._ended)
        delay = (_POLL_S if self._paused else _WAIT_S if self.must_wait() else
                 self._due - time.monotonic())
        if delay <= 0:
            return False
        self._changed.wait(min(delay, _POLL_S))
        return True

    def _tick(self) -> None:
        for running in [*self._running]:
            self._advance(running)
        self.world.step(TICK)
        with until_shutdown():
            for function in self._on_tick:
                function()
        if self._steps:
            self._steps -= 1
            self._changed.notify_all()
        if self.rate:
            self._due = max(self._due + TICK / self.rate, time.monotonic() - _LAG_S)

    def _advance(self, running: _Running) -> None:
        try:
            next(running.motion)
        except StopIteration as end:
            self._end(running, End(str(end.value or ''), stopped=False, time=self.time))
        except Exception as error:  # a motion must not end the world
            _logger.exception('%s failed', running.name)
            self._end(running, End(f'{running.name} failed: {error}', stopped=False,
                                   time=self.time))

    def _stop_all(self, why: str) -> None:
        for running in [*self._running]:
            self._stop(running, why)

    def _stop(self, running: _Running, why: str) -> None:
        running.motion.close()
        self._end(running, End(why, stopped=True, time=self.time))

    def _end(self, running: _Running, end: End) -> None:
        self._running.remove(running)
        self._ended.append((running, end))
