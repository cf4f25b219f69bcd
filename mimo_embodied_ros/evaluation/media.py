"""The pictures and videos of a dataset's records, and the frames that the model gets of them."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.query import subject_index
from mimo_embodied_ros.core.tasks import Media
from mimo_embodied_ros.pictures import read_picture
from mimo_embodied_ros.videos import RATE, VideoFile, kept_frame

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mimo_embodied_ros.core.frames import Frame
    from mimo_embodied_ros.core.resize import PixelLimits
    from mimo_embodied_ros.core.tasks import Task

    from .dataset import Record

# which media a task may have for each key; None: all
_KINDS: dict[str, tuple[Media, ...] | None] = {
    'image': None, 'images': None,
    'video': (Media.VIDEO, Media.CLIP, Media.IMAGES, Media.ANY),
    'videos': (Media.VIDEOS, Media.CLIPS)}
KEYS = {*_KINDS, 'fps', 'stamps', 'frames'}


def read_media(fields: dict[str, Any], folder: Path, task: Task) -> dict[str, Any]:
    """Check what a record says about its pictures or videos; ``dataset`` describes the keys.

    Returns:
        The fields of ``Record`` about them.

    Raises:
        ValueError: they are not as described, or a file is missing.

    """
    if task.media is Media.ANY and not _KINDS.keys() & fields.keys():
        return {'images': ()}
    kind, views = _views(fields, task)
    files = kind.startswith('video') and all(isinstance(view, str) for view in views)
    lists = [[view] for view in views] if files else views
    if not lists or not all(isinstance(v, list) and len(v) == len(lists[0]) > 0 for v in lists):
        msg = f'{kind} is {fields[kind]!r:.60}; give {_form(kind)}'
        raise ValueError(msg)
    names = [name for view in lists for name in view]
    if not all(isinstance(name, str) for name in names):
        msg = f'{kind} is {fields[kind]!r:.60}; give {_form(kind)}'
        raise ValueError(msg)
    paths = tuple(folder / name for name in names)
    if absent := [str(path) for path in paths if not path.is_file()]:
        msg = f'there is no {"video" if files else "picture"} {", ".join(absent)}'
        raise ValueError(msg)
    fps = _positive(fields, 'fps')
    if files:
        if 'stamps' in fields:
            msg = 'stamps are those of pictures, and a video file has its own; leave them out'
            raise ValueError(msg)
        return {'images': (), 'videos': paths, 'fps': fps,
                'frames': int(_positive(fields, 'frames', whole=True))}
    if 'frames' in fields:
        msg = 'frames are chosen from a video file; leave them out where pictures are given'
        raise ValueError(msg)
    stamps = _stamps(fields, len(paths), len(lists), fps)
    return {'images': paths, 'stamps_ns': stamps if task.media.is_timed else ()}


def read_frames(record: Record, limits: PixelLimits) -> tuple[Frame, ...]:
    """Read what the model sees of a record, at the sizes that it sees of videos.

    Raises:
        InvalidRequestError: a file is missing, or has no size that the model can see.
        BadEncodingError: a file cannot be read.

    """
    media = record.task.media
    if record.videos:
        videos = [VideoFile(path) for path in record.videos]
        rate, count = record.fps or RATE, record.frames
        if len(videos) > 1:  # equally many frames of each view
            count = min(min(count or video.number(rate), len(video.times)) for video in videos)
        return tuple(itertools.chain.from_iterable(
            video.frames(limits, rate=rate, count=count, as_images=not media.is_video)
            for video in videos))
    stamps = record.stamps_ns or (0,) * len(record.images)
    count = len(record.images) // max(1, len(record.task.views)) if media.is_video else 0
    return tuple(kept_frame(read_picture(image), stamp, limits if media.is_video else None, count)
                 for image, stamp in zip(record.images, stamps))


def subject_picture(record: Record) -> NDArray[np.uint8]:
    """Read the picture that answers are about, whole: (height, width, 3) uint8, RGB.

    Raises:
        InvalidRequestError, BadEncodingError: as `read_frames` does.

    """
    if record.videos:
        return VideoFile(record.videos[0]).frames(count=1)[0].pixels
    return read_picture(record.images[subject_index(record.task, len(record.images))])


def _views(fields: dict[str, Any], task: Task) -> tuple[str, list[Any]]:
    """Return the key that gives the media, and its value for each view."""
    kinds = [kind for kind in _KINDS if kind in fields]
    if len(kinds) != 1:
        msg = ('give image, the name of a picture, or images, a list of them, or video or videos '
               'in their place')
        raise ValueError(msg)
    kind = kinds[0]
    value, media = fields[kind], _KINDS[kind]
    if media is not None and task.media not in media:
        others = ', '.join(medium.value for medium in media)
        msg = (f'task {task.name} takes {task.media.value}, no {kind}; give image or images, or '
               f'name a task whose media is one of {others}')
        raise ValueError(msg)
    views = {'image': [[value]], 'videos': value}.get(kind, [value])
    if not isinstance(views, list):
        msg = f'{kind} is {value!r:.60}; give {_form(kind)}'
        raise ValueError(msg)  # noqa: TRY004 a reader's only error
    if kind == 'videos' and len(views) != len(task.views):
        msg = f'videos has {len(views)}; give one of each view: {", ".join(task.views)}'
        raise ValueError(msg)
    return kind, views


def _form(kind: str) -> str:
    return {'image': 'the name of a picture', 'images': 'a list of the names of pictures',
            'video': 'the name of a file, or a list of the names of pictures',
            'videos': 'a list of files, or equally long lists of pictures'}[kind]


def _positive(fields: dict[str, Any], key: str, *, whole: bool = False) -> float:
    """Return a positive number; 0 where none is given."""
    value = fields.get(key)
    if value is None:
        return 0.0
    types = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, types) or not 0 < value < math.inf:
        msg = f'{key} is {value!r:.60}; give a positive {"whole " if whole else ""}number'
        raise ValueError(msg)
    return float(value)


def _stamps(fields: dict[str, Any], total: int, views: int, fps: float) -> tuple[int, ...]:
    """Return the stamps of all pictures, nanoseconds; empty where they are not known."""
    length = total // views
    stamps = fields.get('stamps')
    if stamps is not None:
        if (not isinstance(stamps, list) or len(stamps) != length
                or not all(type(s) in (int, float) and math.isfinite(s) for s in stamps)
                or sorted(stamps) != stamps):
            msg = f'stamps is {stamps!r:.60}; give {length} rising times, seconds'
            raise ValueError(msg)
        return tuple(round(stamp * 1e9) for stamp in stamps) * views
    if fps:
        return tuple(round(i / fps * 1e9) for i in range(length)) * views
    recorded = fields.get('recorded')
    frames = recorded.get('frames') if isinstance(recorded, dict) else None
    if isinstance(frames, list) and len(frames) == total:
        stamps = [f.get('stamp_ns') if isinstance(f, dict) else None for f in frames]
        return tuple(stamps) if all(type(s) is int for s in stamps) else ()
    return ()
