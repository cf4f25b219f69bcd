"""Questions about a clip of a drawn table: what moved, what was touched last, is it done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mimo_embodied_ros.core.tasks import TASKS
from mimo_embodied_ros.worlds.things import CONTAINERS, MOVABLE

from .question import Question, with_random_article

if TYPE_CHECKING:
    import random

    from mimo_embodied_ros.worlds.table_clip import TableClip


def what_moved(rng: random.Random, clip: TableClip) -> Question | None:
    """Ask freely which thing has been moved; None where none has."""
    if not clip.moved:
        return None
    text = rng.choice(('What moved?', 'What has been moved?', 'Which object moved?'))
    return Question('moved', TASKS['ask_video'], text, clip.moved, clip.moved)


def touched_last(rng: random.Random, clip: TableClip) -> Question | None:
    """Ask with options which thing was touched last; None where only one was.

    A clip in which a thing is carried is left out: what the gripper let go, and onto what, may be
    taken for the last touch.
    """
    if clip.moved or len(clip.touched) < 2:
        return None
    last = clip.touched[-1]
    others = [t.name for t in clip.frames[0].things if t.name not in clip.touched]
    wrong = [*clip.touched[:-1], *others][:3]
    options = [last, *wrong]
    rng.shuffle(options)
    letter = 'ABCD'[options.index(last)]
    return Question('touched', TASKS['video_choice'], 'Which object was touched last?', letter,
                    letter, options=tuple(options))


def is_done(rng: random.Random, clip: TableClip) -> Question | None:
    """Ask whether a thing has been put into a container; None where there is no such pair."""
    first = clip.frames[0].things
    pairs = [(thing.name, holder.name) for thing in first for holder in first
             if thing.shape in MOVABLE and holder.shape in CONTAINERS]
    done = (clip.moved, clip.container)
    if not pairs:
        return None
    pair = done if clip.container and rng.random() < 0.7 else rng.choice(pairs)
    thing, holder = (with_random_article(rng, name) for name in pair)
    word = 'yes' if pair == done else 'no'
    return Question('done', TASKS['is_done'], f'put {thing} in {holder}', word, word)


def askable(clip: TableClip, *, video: bool) -> bool:
    """Tell whether there is a question about a clip as a video, or else as images."""
    shapes = {thing.shape for thing in clip.frames[0].things}
    return video or not (shapes.isdisjoint(MOVABLE) or shapes.isdisjoint(CONTAINERS))


MAKERS = (what_moved, touched_last, is_done)
