"""Supervision of clips: what each picture of a clip shows, and which image tokens answer.

A clip is one row of pictures: its frames, or pairs of frames where it is sent as a video. Image
tokens are counted through all pictures of the row, oldest first.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.resize import FACTOR
from mimo_embodied_ros.core.video import PAIR

from .vision_supervision import token_of

if TYPE_CHECKING:
    from mimo_embodied_ros.worlds.table_clip import TableClip
    from mimo_embodied_ros.worlds.table_scene import Thing


class ClipView:
    """A clip as the model gets it.

    Attributes:
        clip: the clip.
        video: whether it is sent as a video.
        tables: what each picture shows; of a pair of frames the things that do not move in it.
        pixels: (height, width, 3) uint8, RGB, of the first frame.
        things: the things in the first frame.

    """

    def __init__(self, clip: TableClip, *, video: bool) -> None:
        """Take the clip, and whether it is sent as a video."""
        self.clip, self.video = clip, video
        self._span = PAIR if video else 1
        self.tables = []
        for i in range(0, len(clip.frames), self._span):
            first, last = clip.frames[i], clip.frames[i : i + self._span][-1]
            still = tuple(thing for thing in first.things if thing in last.things)
            self.tables.append(dataclasses.replace(first, things=still))
        self.pixels, self.things = clip.frames[0].pixels, clip.frames[0].things
        self._rows, self._columns = (side // FACTOR for side in self.pixels.shape[:2])

    def _token(self, picture: int, thing: Thing) -> int:
        return picture * self._rows * self._columns + token_of(thing, self._rows, self._columns)

    def last_seen(self, name: str) -> int:
        """Return the token in which a thing lies in the last picture that shows it at rest."""
        return next(self._token(i, thing) for i in reversed(range(len(self.tables)))
                    for thing in self.tables[i].things if thing.name == name)

    def left(self, name: str) -> int:
        """Return the token of the last picture in which a thing lay at first."""
        thing = next(t for t in self.things if t.name == name)
        return self._token(len(self.tables) - 1, thing)

    def touched(self, name: str) -> int:
        """Return the token in which a thing lies in the last picture with the gripper at it."""
        thing = next(t for t in self.things if t.name == name)
        frame = max(i for i, gripper in enumerate(self.clip.grippers)
                    if gripper == (thing.x, thing.y))
        return self._token(frame // self._span, thing)

    def looks_back(self) -> list[tuple[int, int]]:
        """Return for each thing the token of the last and of the first picture where it lay."""
        return [(self.left(t.name), self._token(0, t)) for t in self.things]
