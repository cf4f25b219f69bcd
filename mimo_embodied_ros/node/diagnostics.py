"""Statuses for ``/diagnostics``: model, memory, servers, recording, cameras and odometry."""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from mimo_embodied_ros.core.errors import MimoError, ResultCode
from mimo_embodied_ros.engine import Grounding, GroundingState
from mimo_embodied_ros.ros.messages import sendable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rclpy.node import Node

    from mimo_embodied_ros.engine import MemoryUse, ModelInfo, ServerHealth
    from mimo_embodied_ros.ros.streams import Stream

    from .faults import Fault
    from .recorder import Recorder

PERIOD_S = 1.0
_LATENCIES = 100  # number of the latest answers whose latency is kept

# Errors of the model or its machine, which the next request would meet, too.
_FAULTS = {ResultCode.MODEL_NOT_READY, ResultCode.OUT_OF_MEMORY, ResultCode.BACKEND_UNREACHABLE,
           ResultCode.BACKEND_ERROR}


class RequestStatistics:
    """Counts the ends of requests since the model was loaded; in any thread.

    Attributes:
        answered: requests that got an answer.
        failed: requests that got none, except those that were cancelled or preempted.
        second_tries: questions that were asked once more, because the answer could not be read.
        second_tries_read: those of them whose second answer could be read.
        last_error: code and message of the latest failure; empty before the first.
        faulty: whether the latest end shows that the model or its machine does not work.

    """

    def __init__(self) -> None:
        """Begin to count."""
        self.answered = self.failed = 0
        self.second_tries = self.second_tries_read = 0
        self.last_error = ''
        self.faulty = False
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._lock = threading.Lock()

    def add(self, error: MimoError | None, latency_s: float, *, asked: bool = True) -> None:
        """Count one request.

        Args:
            error: of the request; None for an answer.
            latency_s: seconds since it came.
            asked: whether the model was asked; else the end says nothing about the model.

        """
        with self._lock:
            if error is None:
                self.answered += 1
                self.faulty = False
                self._latencies.append(latency_s)
            elif error.code not in (ResultCode.CANCELLED, ResultCode.PREEMPTED):
                self.failed += 1
                if asked or not self.faulty:  # else the reason of the fault would be forgotten
                    self._note(error, faulty=asked and error.code in _FAULTS)

    def add_second_try(self, *, read: bool) -> None:
        """Count a question that was asked once more, and whether that answer could be read."""
        with self._lock:
            self.second_tries += 1
            self.second_tries_read += read

    def add_load(self, error: MimoError) -> None:
        """Take the reason why the model could not be loaded, or was lost."""
        with self._lock:
            self._note(error, faulty=True)

    def latency(self, share: float) -> float:
        """Seconds within which a share (above 0, up to 1) of the latest answers came."""
        with self._lock:
            taken = sorted(self._latencies)
        return taken[math.ceil(share * len(taken)) - 1]

    def _note(self, error: MimoError, *, faulty: bool) -> None:
        self.last_error = f'{error.code.name}: {error}'
        self.faulty = faulty


def model_status(
    info: ModelInfo | None, waiting: int | None, running: int, statistics: RequestStatistics,
    loaded: float | None = None, grounding: Grounding | None = None,
) -> DiagnosticStatus:
    """The status of the model: whether it is loaded and works.

    Args:
        info: of the model; None where none is loaded.
        waiting: number of requests in the queue; None where the node is not active.
        running: number of requests that are being answered.
        statistics: of the requests so far.
        loaded: share of the weights, while they are loaded.
        grounding: what its grounding test found, also where the model was refused for it.

    """
    grounding = grounding or Grounding()
    level, message = DiagnosticStatus.OK, str(info)
    if loaded is not None:
        level, message = DiagnosticStatus.WARN, f'the model is being loaded: {loaded:.0%}'
    elif statistics.faulty:
        level, message = DiagnosticStatus.ERROR, statistics.last_error
    elif info is None:
        level, message = DiagnosticStatus.WARN, 'no model is loaded; configure the node'
    elif grounding.state is GroundingState.WRONG:
        level, message = DiagnosticStatus.WARN, f'the grounding test failed: {grounding.report}'
    elif waiting is None:
        message += ', not active'
    values = {
        'loaded': info is not None, 'active': waiting is not None, 'waiting': waiting or 0,
        'running': running, 'answered': statistics.answered, 'failed': statistics.failed,
        'second tries': statistics.second_tries,
        'second tries read': statistics.second_tries_read,
        'last error': statistics.last_error,
        'grounding': grounding.state.name.lower().replace('_', ' '),
        'grounding report': grounding.report}
    if statistics.answered:
        values['latency p50 (s)'] = f'{statistics.latency(0.5):.3f}'
        values['latency p95 (s)'] = f'{statistics.latency(0.95):.3f}'
    return _status('model', level, message, values)


def memory_status(use: MemoryUse) -> DiagnosticStatus:
    """The status of memory: what this process and its model hold."""
    values = {'process (MB)': f'{_resident() / 1e6:.0f}', 'cache (MB)': f'{use.cache / 1e6:.0f}'}
    if use.keys_values_budget:
        values['keys and values (MB)'] = f'{use.keys_values / 1e6:.1f}'
        values['keys and values at most (MB)'] = f'{use.keys_values_budget / 1e6:.1f}'
        values['answers put back'] = str(use.preempted)
    if use.device_total:
        values['GPU (MB)'] = f'{use.device / 1e6:.0f}'
        values['GPU total (MB)'] = f'{use.device_total / 1e6:.0f}'
    message = ', '.join(f'{name} {value}' for name, value in values.items())
    if use.cache_needed:
        values['cache needed (MB)'] = f'{math.ceil(use.cache_needed / 1e6)}'
        message += f'; {cache_advice(use)}'
    return _status('memory', DiagnosticStatus.OK, message, values)


def cache_advice(use: MemoryUse) -> str:
    """Say what does not fit into the cache, and what to do."""
    needed = math.ceil(use.cache_needed / 1e6)
    return (f'the images of a request take {needed} MB of the cache, which is more than cache_mb, '
            'so that the next request about them reads them again; set cache_mb to '
            f'{needed} if there is memory for it, or lower max_pixels')


def _resident() -> int:
    """Resident memory of this process, bytes, with shared pages."""
    pages = Path('/proc/self/statm').read_text('ascii').split()[1]
    return int(pages) * os.sysconf('SC_PAGE_SIZE')


def server_status(health: ServerHealth, now: float) -> DiagnosticStatus:
    """The status of a server, by the latest request to it; ``now`` is ``time.monotonic()``."""
    values = {'latency (s)': f'{health.latency_s:.3f}', 'last error': health.last_error}
    if health.healthy is None:
        level, message = DiagnosticStatus.STALE, 'not asked yet'
    elif health.healthy:
        level, message = DiagnosticStatus.OK, 'answers'
    else:
        level, message = DiagnosticStatus.ERROR, health.last_error
    if health.checked:
        values['checked (s ago)'] = f'{now - health.checked:.1f}'
    return _status(f'server {health.url}', level, message, values)


def recorder_status(recorder: Recorder) -> DiagnosticStatus:
    """The status of the recording: whether the latest answer was written."""
    level, message = DiagnosticStatus.OK, f'answers are recorded in {recorder.folder}'
    if recorder.problem:
        level = DiagnosticStatus.WARN
        message = f'the latest answer was not recorded: {recorder.problem}'
    return _status('recorder', level, message, {
        'folder': recorder.folder, 'recorded': recorder.recorded, 'lost': recorder.lost})


def camera_status(
    name: str, images: Stream, age_s: float | None, max_age_s: float,
    malformed: Mapping[str, int], problems: Sequence[Fault],
) -> DiagnosticStatus:
    """The status of a camera: whether it sends images.

    Args:
        name: of the camera.
        images: its stream.
        age_s: of the newest image, seconds of ROS time; None where there is none.
        max_age_s: age of the oldest image to answer on, seconds; 0: any age.
        malformed: number of its messages that could not be used, by cause.
        problems: faults of its topics.

    """
    level, message = DiagnosticStatus.OK, 'sends images'
    if images.opened is None:
        message = 'not subscribed: on demand, and nobody asks'
    elif age_s is None:
        level, message = DiagnosticStatus.WARN, f'no image has arrived on {images.topic}'
    elif max_age_s and age_s > max_age_s:
        level = DiagnosticStatus.WARN
        message = f'the newest image is older than max_image_age, {max_age_s:g} s'
    values = _values_of(images, malformed)
    values['images received'] = values.pop('received')
    if age_s is not None:
        values['age of the newest (s)'] = f'{age_s:.3f}'
    return _with_problems(f'camera {name}', level, message, values, problems)


def odometry_status(
    stream: Stream, malformed: Mapping[str, int], problems: Sequence[Fault]
) -> DiagnosticStatus:
    """The status of odometry, which a base need not have."""
    message = 'arrives' if stream.received else f'none has arrived on {stream.topic}'
    values = _values_of(stream, malformed)
    return _with_problems('odometry', DiagnosticStatus.OK, message, values, problems)


def _values_of(stream: Stream, malformed: Mapping[str, int]) -> dict[str, Any]:
    values: dict[str, Any] = {
        'topic': stream.topic, 'received': stream.received, 'dropped': stream.dropped}
    if stream.rate is not None:
        values['rate (Hz)'] = f'{stream.rate:.1f}'
    # copied in one go, since requests go on counting
    return values | {f'malformed: {cause}': count for cause, count in dict(malformed).items()}


def _with_problems(
    name: str, level: bytes, message: str, values: dict[str, Any], problems: Sequence[Fault]
) -> DiagnosticStatus:
    if problems:
        level, message = DiagnosticStatus.WARN, '; '.join(fault.text for fault in problems)
    return _status(name, level, message, values)


def diagnostics(node: Node, statuses: Iterable[DiagnosticStatus]) -> DiagnosticArray:
    """The message of a node: each status gets the node's namespace and name before its own.

    Robots share ``/diagnostics``, and an aggregator tells statuses apart by their names.
    """
    out = DiagnosticArray(status=list(statuses))
    out.header.stamp = node.get_clock().now().to_msg()
    for status in out.status:
        status.hardware_id = node.get_fully_qualified_name()
        status.name = f'{status.hardware_id.lstrip("/")}: {status.name}'
    return out


def _status(name: str, level: bytes, message: str, values: dict[str, Any]) -> DiagnosticStatus:
    return sendable(DiagnosticStatus(
        name=name, level=level, message=message,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()]))
