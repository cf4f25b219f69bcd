"""Records answers in a folder, for review and training: ``answers.jsonl`` and JPEGs beside it.

A line has ``id``, ``images``, ``task``, ``question`` and ``thinking`` as those of
``evaluation.dataset``, and ``recorded``: the fields of ``msg/Outcome``, the ``answer`` as its
message, the ``prompt``, the ``options`` of the question, and the origin of each image
(``frames``). Images have the size of the camera's, and answers are in their pixels. A request that
failed before the model was asked is not recorded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import queue
import threading
import time
import uuid
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.characters import valid_text
from mimo_embodied_ros.core.errors import MimoError
from mimo_embodied_ros.core.files import reason
from mimo_embodied_ros.core.profiles import MIMO_EMBODIED
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.pictures import jpeg
from mimo_embodied_ros.ros.messages import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

    from mimo_embodied_ros.core.frames import Frame
    from mimo_embodied_ros.core.profiles import Profile
    from mimo_embodied_ros.core.query import Query
    from mimo_embodied_ros.core.resize import PixelLimits

FILE = 'answers.jsonl'
_WAITING = 16  # answers with their images
_REMEMBERED = 64  # names of written images, to which further answers may refer
_CLOSING_S = 5.0  # a disk that hangs must not hold up the node
_WARNING_S = 60.0  # between two warnings of one kind
_COUNTING_SHARE = 0.05  # of the time may go into counting what a full folder holds


class Recorder:
    """Writes in a thread of its own, which no error ends.

    An answer that cannot be written is lost, counted, and said in a warning. The next one is tried
    again, so that recording goes on when the folder is there, can be written and has room. Several
    recorders, also of several nodes, may share a folder.

    Attributes:
        folder: in which it writes.
        recorded: number of answers that were written.
        lost: number of answers that were not.
        problem: why the latest answer was not written; empty where it was.

    """

    def __init__(
        self, folder: str, max_bytes: int, limits: PixelLimits, warn: Callable[[str], Any],
        profile: Profile = MIMO_EMBODIED,
    ) -> None:
        """Start the thread.

        Args:
            folder: made where it is missing.
            max_bytes: that the folder may hold, earlier recordings included.
            limits: image areas of the model, for the prompts.
            warn: called with the reason why answers are not recorded, in either thread.
            profile: of the model, for the prompts.

        """
        self.folder, self.recorded, self.lost, self.problem = Path(folder), 0, 0, ''
        self._max_bytes, self._limits, self._warn = max_bytes, limits, warn
        self._profile = profile
        self._bytes = self._file_bytes = -1  # of the folder and its lines; not counted yet
        self._count_at = 0.0  # monotonic seconds
        self._stamp_ns = 0
        self._last_problem = ''
        self._warned_at: dict[str, float] = {}
        self._names: OrderedDict[Hashable, str] = OrderedDict()  # of written images
        self._lock = threading.Lock()  # for the counts
        self._waiting: queue.Queue[tuple[Query, Any, Any] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name='recorder', daemon=True)
        self._thread.start()

    def add(self, query: Query, outcome: Any, answer: Any) -> None:
        """Queue an answer to be written; from any thread, without waiting.

        Args:
            query: what the model was asked; the first query of several.
            outcome: ``msg/Outcome`` of the request.
            answer: the message of the answer; None where there is none.

        """
        try:
            self._waiting.put_nowait((query, outcome, answer))
        except queue.Full:
            self._lose('slow', f'answers come faster than {self.folder} takes them')

    def close(self) -> None:
        """Write the queued answers, for a few seconds at most, and end the thread."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=_CLOSING_S)
        self._thread.join(_CLOSING_S)
        if self._thread.is_alive():
            with self._lock:
                self.lost += self._waiting.qsize()
                self._last_problem = f'{self.folder} takes none within {_CLOSING_S:g} s'
        if self.lost:
            self._say(f'{self.lost} of {self.lost + self.recorded} answers were not recorded; '
                      f'the last reason: {self._last_problem}')

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            self._record(*item)

    def _record(self, query: Query, outcome: Any, answer: Any) -> None:
        try:
            self._write(query, outcome, answer)
        except OSError as error:
            self._lose('fault', f'record_to {self.folder}: {reason(error, named=False)}')
        except Exception as error:  # noqa: BLE001 one answer must not end the recording
            self._lose('answer', f'an answer cannot be written ({error!r})')

    def _lose(self, kind: str, problem: str) -> None:
        """Count a lost answer and say why, once a minute for each kind of problem."""
        with self._lock:
            self.lost += 1
            self.problem = self._last_problem = valid_text(problem)
            now = time.monotonic()
            if now < self._warned_at.get(kind, 0.0):
                return
            self._warned_at[kind] = now + _WARNING_S
        self._say(f'{problem}: answers are not recorded until this is mended, {self.lost} so far')

    def _say(self, text: str) -> None:
        with contextlib.suppress(Exception):  # a logger that fails must not end the thread
            self._warn(valid_text(text))

    def _write(self, query: Query, outcome: Any, answer: Any) -> None:
        """Write one line and its images that are not written yet: all of them or nothing.

        Raises:
            OSError: it cannot be written.
            ValueError, TypeError: it holds what JPEG or JSON cannot hold.

        """
        try:
            prompt = build_prompt(query, self._limits, self._profile)
        except MimoError:
            return  # the model was not asked either
        self.folder.mkdir(parents=True, exist_ok=True)
        id_ = self._new_id(outcome.kind)
        new: dict[Hashable, tuple[str, bytes]] = {}
        images = []
        for frame in query.frames:
            key = frame.image_id
            known = self._names.get(key, '')
            if key not in new and not (known and (self.folder / known).exists()):
                name = f'{id_}-{len(new)}.jpg'
                new[key] = name, jpeg(frame.pixels, size=(frame.width, frame.height))
            images.append(new[key][0] if key in new else known)
        line = valid_text(json.dumps(plain({
            'id': id_, 'images': images, 'task': query.task.name, 'question': query.text,
            'thinking': query.thinks,
            'recorded': {
                **plain(outcome), 'answer': answer, 'prompt': prompt.text,
                'system': prompt.system, 'options': query.options,
                'frames': [_origin(frame) for frame in query.frames]},
        }), ensure_ascii=False, allow_nan=False)).encode() + b'\n'
        size = len(line) + sum(len(data) for _, data in new.values())
        with _locked(self.folder / FILE) as file:
            if not self._has_room(size, file):
                self._lose('full', (
                    f'{self.folder} holds {self._bytes / 1e6:.1f} MB of at most '
                    f'{self._max_bytes / 1e6:g}, move what it holds elsewhere or raise '
                    'record_max_mb'))
                return
            self._add_files(dict(new.values()), file, line)
        with self._lock:
            self.recorded, self.problem = self.recorded + 1, ''
        self._names.update((key, name) for key, (name, _) in new.items())
        while len(self._names) > _REMEMBERED:
            self._names.popitem(last=False)

    def _new_id(self, kind: str) -> str:
        """Return a name that no other answer has, in the order of time also when a clock is set."""
        self._stamp_ns = max(time.time_ns(), self._stamp_ns + 1)
        return f'{kind}-{self._stamp_ns}-{uuid.uuid4().hex[:6]}'

    def _has_room(self, size: int, file: int) -> bool:
        """Whether the folder may hold so many bytes more.

        It is counted again where others have changed the lines, and where it is full, since others
        may have made room.
        """
        changed = os.fstat(file).st_size != self._file_bytes
        if changed or (self._bytes + size > self._max_bytes
                       and time.monotonic() >= self._count_at):
            start = time.monotonic()
            self._bytes = _size(self.folder)
            self._file_bytes = os.fstat(file).st_size
            end = time.monotonic()
            self._count_at = end + (end - start) / _COUNTING_SHARE
        return self._bytes + size <= self._max_bytes

    def _add_files(self, pictures: Mapping[str, bytes], file: int, line: bytes) -> None:
        """Write pictures by their names, and append a line to the file of this descriptor."""
        try:
            for name, data in pictures.items():
                with (self.folder / name).open('xb') as picture:
                    picture.write(data)
            written = _append(file, line)
        except BaseException:
            for name in pictures:
                with contextlib.suppress(OSError):
                    (self.folder / name).unlink(missing_ok=True)
            raise
        self._bytes += written + sum(map(len, pictures.values()))
        self._file_bytes += written


def _size(folder: Path) -> int:
    """Bytes of the files in a folder, which others may remove meanwhile."""
    size = 0
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):
            size += entry.stat().st_size if entry.is_file() else 0
    return size


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a file to append to it, which no other recorder does meanwhile; yield its descriptor."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        with contextlib.suppress(OSError):  # not every file system has locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)  # ends the lock


def _append(file: int, line: bytes) -> int:
    """Append a line or nothing, since half a line would spoil the next one, too.

    Returns:
        The number of bytes: a line break comes first where a program that was killed, or an
        editor, has left a line without one.

    """
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b'\n':
        line = b'\n' + line
    written = 0
    try:
        while written < len(line):  # the second time tells why a disk took only a part
            written += os.write(file, line[written:])
    except OSError as error:
        if written:
            os.ftruncate(file, size)
        raise OSError(error.errno, error.strerror, FILE) from error
    if not os.fstat(file).st_nlink:
        raise FileNotFoundError(errno.ENOENT, 'was removed meanwhile', FILE)
    return written


def _origin(frame: Frame) -> dict[str, Any]:
    """Camera, stamp, size, intrinsics and odometry of an image."""
    fields = {name: getattr(frame, name)
             for name in ('camera', 'stamp_ns', 'frame_id', 'width', 'height')}
    for name in ('intrinsics', 'odometry'):
        value = getattr(frame, name)
        fields[name] = None if value is None else dataclasses.asdict(value)
    return fields
