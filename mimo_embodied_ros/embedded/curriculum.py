"""The curriculum of the embedded model: what it learns in which stage, from which questions.

Eleven stages, each a number of seeded steps. On drawn scenes alone, since names are bound to things
much sooner where all things of a name look alike:
  see     the vision tower alone learns the names and places of things (the dense head)
  aim     the same to the pixel: row and column of each token, and the offset of a thing in it
  read    the same again from a high learning rate, since the digits of a place are learnt slowly
  ask     the whole model learns from short questions, many for each picture, at first with few
          things on the table; MiMo's long prompts and formats would hide the few informative
          words, so they are added bit by bit
  place   the same with more points: which digit comes next is learnt last
  speak   MiMo's own prompts, formats and think blocks, and a small share of short questions
Then on rendered and drawn scenes:
  look    the vision tower alone, as in aim
  choose  the whole model again, mostly from choices, numbers and checks, which are learnt only
          when many of them come together
  mix     as speak
  point   the same with half of the questions about points, since one wrong digit is a wrong point
  compare from the end of mix again, a third about points and a quarter about the nearest thing;
          the mean of mix and both branches is better than any of them at nearly everything
A model that is trained already goes through these alone, after
  heads   what the taught heads read from it, while it stays as it is
All stages with questions but place have a share of clips. Choices, numbers, boxes and, on rendered
scenes, checks have batches of their own: they are too long, or too rare, to be learnt among the
others.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.query import Task
from mimo_embodied_ros.core.resize import smart_resize
from mimo_embodied_ros.core.video import PAIR
from mimo_embodied_ros.worlds import road_scene, table_clip, table_scene
from mimo_embodied_ros.worlds.room_scene import RoomScene

from . import (
    clip_questions,
    packing,
    plan_questions,
    road_questions,
    room_questions,
    table_questions,
    untrained_model,
)
from .clip_supervision import ClipView
from .examples import Scene, make_example

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from .question import Question
    from .renders import Renders

# (width, height) of usual cameras
CAMERA_SIZES = ((640, 480), (1280, 720), (480, 640), (848, 480), (1920, 1080))


@dataclass(frozen=True)
class Stage:
    """How long and how fast a stage trains.

    Attributes:
        name: name of the stage, in the log and in the questions' mixes.
        steps: number of batches of pictures.
        images: pictures in a batch.
        rounds: batches of questions about the same pictures; the vision tower learns from the
            first one only, which is much cheaper.
        rate: learning rate of Muon; see `Optimizer`.
        hold: share of the steps before the rate falls.
        dense: weight of the dense head's loss.
        units: weight of a number's last digit, which is finer than the image and mostly noise.
        checks: whether a head is taught which word decides the sense of a check.
        refusals: weight of the answer that nothing is there; when it is too high, the model
            refuses things that are there.
        names: weight of colour and shape in the dense head's loss; the digits of places get its
            inverse.
        frozen: whether the model stays as it is, and only the training heads learn.
        branch: whether the stage starts from the end of the last stage that is no branch; after
            the last branch the weights become the mean over that end, which knows best what the
            branches do not train, and their own ends (model soups, arXiv:2203.05482).

    """

    name: str
    steps: int
    images: int
    rounds: int
    rate: float
    hold: float
    dense: float
    units: float = 1.0
    checks: bool = True
    refusals: float = 4.0
    names: float = 1.0
    frozen: bool = False
    branch: bool = False


STAGES = (
    Stage('see', 1700, 32, 1, 0.02, 0.4, 1.0),
    Stage('aim', 600, 32, 1, 0.015, 0.2, 1.0),
    Stage('read', 700, 32, 1, 0.015, 0.4, 1.0),
    Stage('ask', 500, 16, 3, 0.006, 1.0, 0.5, checks=False),
    Stage('place', 300, 16, 3, 0.006, 0.5, 0.5, 0.2),
    Stage('speak', 700, 12, 2, 0.005, 1.0, 0.5),
    Stage('look', 2400, 32, 1, 0.015, 0.5, 1.0, names=4.0),
    Stage('choose', 800, 12, 2, 0.005, 1.0, 0.5, names=4.0, refusals=2.0),
    Stage('mix', 900, 12, 2, 0.005, 0.4, 0.5, names=4.0, refusals=2.0),
    Stage('point', 350, 12, 2, 0.003, 0.2, 0.5, names=4.0, refusals=1.2, branch=True),
    Stage('compare', 400, 12, 2, 0.004, 0.3, 0.5, names=4.0, refusals=1.2, branch=True),
)
_LOOK, _CHOOSE, _MIX, *_BRANCHES = STAGES[[stage.name for stage in STAGES].index('look'):]
STAGES_OF_TRAINED = (
    Stage('heads', 60, 32, 1, 0.02, 1.0, 1.0, frozen=True),
    # of rendered shapes half are taken for others after 400 steps, and 4 % after 8,000
    replace(_LOOK, steps=4500, hold=0.3), replace(_CHOOSE, steps=600, refusals=1.3),
    replace(_MIX, steps=500, refusals=1.3),
    replace(_LOOK, steps=3000, rate=0.012, hold=0.2),
    replace(_MIX, steps=1700, rate=0.0045, refusals=1.3),
    *(replace(branch, steps=300) for branch in _BRANCHES),
    replace(_MIX, steps=4300, hold=0.6, names=2.0, refusals=1.3),
    *(replace(branch, steps=250) for branch in _BRANCHES))


def image_size(rng: random.Random) -> tuple[int, int]:
    """Draw the (width, height) at which the model gets a camera's image, from 1:2 to 2:1."""
    if rng.random() < 0.5:
        width, height = rng.choice(CAMERA_SIZES)
    else:
        ratio = 2 ** rng.uniform(-1, 1)
        area = rng.choice((15_000, 25_000, 35_000, 300_000))
        width, height = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
    height, width = smart_resize(height, width, untrained_model.LIMITS)
    return width, height


_MAKERS: dict[str, tuple[Callable[[random.Random, table_scene.Table], Question | None], ...]] = {
    'plan': (plan_questions.short_plan,),
    'long plan': (plan_questions.long_plan,),
    'box': (table_questions.box,),
    'nearest': (lambda rng, scene: table_questions.relation(rng, scene, 'nearest'),),
    'choice': (table_questions.which_nearest, table_questions.colour),
    'count': (table_questions.count,),
    'colour': (table_questions.colour,),
    'list': (table_questions.listing,),
    'check': (table_questions.check, table_questions.check_alike),
}
_NOT_WANTED = {'choice': ('colour',), 'colour': ('choice',)}


def _questions(
    rng: random.Random, scene: Scene, number: int, want: str
) -> list[Question]:
    """Make questions of similar length; ``easy`` ones are about one thing each."""
    if want == 'none':
        return []
    if isinstance(scene, road_scene.Road | road_scene.Surround):
        if want == 'drive':
            return [road_questions.drive(rng, scene) for _ in range(number)]
        if isinstance(scene, road_scene.Surround):
            questions = road_questions.about_surround(rng, scene)
        else:
            questions = ([road_questions.critical_objects(scene)] if want == 'hazards'
                         else road_questions.about_road(rng, scene))
        rng.shuffle(questions)
        return questions
    if isinstance(scene, ClipView):
        makers = ((clip_questions.what_moved, clip_questions.touched_last) if scene.video
                  else (clip_questions.is_done,))
        asked = (maker(rng, scene.clip) for _ in range(number) for maker in makers)
        return [question for question in asked if question]
    if isinstance(scene, RoomScene):
        return room_questions.questions(rng, scene, number, want)
    if want in _MAKERS:  # most tries at some kinds are too close to call
        tries = (rng.choice(_MAKERS[want])(rng, scene) for _ in range(4 * number))
        made = (question for question in tries
                if question and question.kind not in _NOT_WANTED.get(want, ()))
        return list(itertools.islice(made, number))
    stream = table_questions.about_table(rng, scene, relations=want != 'easy')
    questions = list(itertools.islice(stream, 4 * number))
    if want in {'any', 'easy'}:
        return questions
    return [q for q in questions if (q.task is Task.POINTS) == (want == 'point')]


_ALIKE = 0.25  # share of the tables whose things share two colours
_FEW_SHARE = 0.555  # share of the stage ask with few things on the table
# A kind of batch: relative frequency, kind of questions, form of the examples, blocks in a row and
# tokens in a block; the numbers leave little of a row empty.
_Mix = tuple[float, str, str, int, int]
_MIXES: dict[str, tuple[_Mix, ...]] = {
    'few': (
        (0.75, 'easy', 'bare', 16, 16),
        (0.25, 'easy', 'partly', 8, 46),
    ),
    'ask': (
        (0.5, 'any', 'bare', 16, 16),
        (0.04, 'choice', 'bare', 10, 32),
        (0.04, 'count', 'bare', 14, 14),
        (0.05, 'box', 'bare', 8, 26),
        (0.02, 'list', 'bare', 8, 24),
        (0.06, 'plan', 'bare', 6, 48),
        (0.03, 'plan', 'bare', 3, 92),
        (0.03, 'long plan', 'bare', 3, 118),
        (0.015, 'long plan', 'bare', 2, 154),
        (0.19, 'word', 'partly', 8, 56),
        (0.08, 'point', 'partly', 5, 66),
    ),
    'place': (
        (0.22, 'any', 'bare', 16, 16),
        (0.28, 'point', 'bare', 16, 16),
        (0.14, 'point', 'partly', 5, 66),
        (0.04, 'choice', 'bare', 10, 32),
        (0.03, 'count', 'bare', 14, 14),
        (0.08, 'box', 'bare', 8, 26),
        (0.02, 'list', 'bare', 8, 24),
        (0.08, 'word', 'partly', 8, 56),
        (0.06, 'plan', 'bare', 6, 48),
        (0.04, 'plan', 'bare', 3, 92),
        (0.03, 'long plan', 'bare', 3, 118),
        (0.015, 'long plan', 'bare', 2, 154),
    ),
    'speak': (
        (0.24, 'point', 'spoken', 6, 72),
        (0.04, 'point', 'thinking', 5, 84),
        (0.07, 'box', 'spoken', 4, 88),
        (0.24, 'word', 'spoken', 12, 56),
        (0.07, 'choice', 'spoken', 8, 56),
        (0.03, 'count', 'spoken', 10, 36),
        (0.02, 'nearest', 'spoken', 12, 44),
        (0.06, 'word', 'thinking', 6, 74),
        (0.1, 'plan', 'spoken', 5, 74),
        (0.04, 'plan', 'spoken', 3, 114),
        (0.04, 'plan', 'thinking', 3, 156),
        (0.04, 'long plan', 'spoken', 3, 146),
        (0.015, 'long plan', 'spoken', 2, 182),
        (0.02, 'long plan', 'thinking', 2, 202),
        (0.05, 'any', 'bare', 16, 16),
    ),
    'choose': (
        (0.14, 'choice', 'bare', 10, 32),
        (0.2, 'choice', 'spoken', 8, 56),
        (0.06, 'count', 'bare', 14, 14),
        (0.07, 'count', 'spoken', 10, 36),
        (0.2, 'check', 'spoken', 12, 44),
        (0.06, 'box', 'spoken', 4, 88),
        (0.06, 'word', 'spoken', 12, 56),
        (0.12, 'point', 'spoken', 6, 72),
        (0.06, 'plan', 'spoken', 5, 74),
        (0.03, 'any', 'bare', 16, 16),
    ),
    'point': (
        (0.45, 'point', 'spoken', 6, 72),
        (0.05, 'point', 'thinking', 5, 84),
        (0.07, 'box', 'spoken', 4, 88),
        (0.13, 'word', 'spoken', 12, 56),
        (0.04, 'choice', 'spoken', 8, 56),
        (0.06, 'check', 'spoken', 12, 44),
        (0.03, 'count', 'spoken', 10, 36),
        (0.04, 'word', 'thinking', 6, 74),
        (0.1, 'plan', 'spoken', 5, 74),
        (0.04, 'plan', 'spoken', 3, 114),
        (0.03, 'plan', 'thinking', 3, 156),
        (0.04, 'long plan', 'spoken', 3, 146),
        (0.015, 'long plan', 'spoken', 2, 182),
        (0.02, 'long plan', 'thinking', 2, 202),
        (0.02, 'any', 'bare', 16, 16),
    ),
    'compare': (
        (0.28, 'point', 'spoken', 6, 72),
        (0.04, 'point', 'thinking', 5, 84),
        (0.06, 'box', 'spoken', 4, 88),
        (0.2, 'nearest', 'spoken', 12, 44),
        (0.05, 'nearest', 'thinking', 6, 74),
        (0.08, 'choice', 'spoken', 8, 56),
        (0.06, 'check', 'spoken', 12, 44),
        (0.04, 'count', 'spoken', 10, 36),
        (0.1, 'word', 'spoken', 12, 56),
        (0.02, 'word', 'thinking', 6, 74),
        (0.08, 'plan', 'spoken', 5, 74),
        (0.03, 'plan', 'spoken', 3, 114),
        (0.02, 'plan', 'thinking', 3, 156),
        (0.04, 'long plan', 'spoken', 3, 146),
        (0.015, 'long plan', 'spoken', 2, 182),
        (0.02, 'long plan', 'thinking', 2, 202),
    ),
    'ask video': (
        (0.6, 'clip', 'bare', 4, 28),
        (0.4, 'clip', 'partly', 3, 78),
    ),
    'ask images': (
        (0.6, 'clip', 'bare', 6, 16),
        (0.4, 'clip', 'partly', 4, 40),
    ),
    'speak video': (
        (0.2, 'clip', 'bare', 4, 28),
        (0.4, 'clip', 'spoken', 4, 78),
        (0.4, 'clip', 'thinking', 4, 78),
    ),
    'speak images': (
        (0.2, 'clip', 'bare', 6, 16),
        (0.4, 'clip', 'spoken', 6, 40),
        (0.4, 'clip', 'thinking', 6, 40),
    ),
    'ask road': (
        (0.4, 'any', 'bare', 11, 20),
        (0.2, 'any', 'partly', 6, 66),
        (0.25, 'drive', 'partly', 1, 200),
        (0.15, 'hazards', 'partly', 1, 160),
    ),
    'ask surround': (
        (0.5, 'any', 'bare', 6, 18),
        (0.3, 'any', 'partly', 4, 102),
        (0.2, 'drive', 'partly', 1, 246),
    ),
    'speak surround': (
        (0.1, 'any', 'bare', 6, 18),
        (0.4, 'any', 'spoken', 4, 102),
        (0.1, 'drive', 'spoken', 1, 246),
        (0.4, 'drive', 'thinking', 1, 246),
    ),
    'speak road': (
        (0.2, 'any', 'spoken', 8, 72),
        (0.05, 'any', 'thinking', 8, 84),
        (0.15, 'drive', 'spoken', 2, 180),
        (0.3, 'drive', 'thinking', 2, 180),  # the package asks these two with thinking
        (0.1, 'hazards', 'spoken', 1, 160),
        (0.2, 'hazards', 'thinking', 1, 180),
    ),
}
_MIXES['place road'], _MIXES['place surround'] = _MIXES['ask road'], _MIXES['ask surround']
# held, in and on are what rendered scenes add to checks
_MIXES['mix'] = (*_MIXES['speak'], (0.12, 'check', 'spoken', 12, 44),
                 (0.06, 'nearest', 'spoken', 12, 44), (0.05, 'choice', 'spoken', 8, 56))
for _kind in ('road', 'surround', 'video', 'images'):
    for _stage in ('choose', 'mix', 'point', 'compare'):
        _MIXES[f'{_stage} {_kind}'] = _MIXES[f'speak {_kind}']
SILENT = ('see', 'aim', 'read', 'look', 'heads')  # stages without questions
_MIXES |= dict.fromkeys(SILENT, ((1.0, 'none', 'bare', 1, 1),))
# share of the steps with roads
_ROADS = {**dict.fromkeys((*SILENT, 'point', 'compare'), 0.12), 'ask': 0.14, 'place': 0.14,
          'speak': 0.2, 'choose': 0.14, 'mix': 0.24}


_ROOMS = 0.15  # share of rooms among rendered scenes that are no roads
# share of the steps with rendered scenes, where there are such
_RENDERED = {'heads': 0.5, 'look': 0.85, 'choose': 0.65, 'mix': 0.65, 'point': 0.6, 'compare': 0.6}
_SURROUNDS = 0.2  # share of the steps with rendered roads, with all cameras of a car
# share of the steps with clips
_CLIPS = {'ask': 0.04, 'speak': 0.08, 'choose': 0.08, 'mix': 0.1, 'point': 0.08, 'compare': 0.08}
# Pictures of a table for each of a clip: a clip's take more of the language model's time.
_FEWER = 4


def draw_clips(rng: random.Random, stage: Stage, *, video: bool) -> list[Scene]:
    """Draw clips of one size about which there is something to ask, as a video or as images."""
    width, height = image_size(rng)
    clips: list[Scene] = []
    while len(clips) < max(2, stage.images // _FEWER * (2 if video else 1)):
        clip = table_clip.draw_clip(rng, width, height)
        if clip_questions.askable(clip, video=video):
            clips.append(ClipView(clip, video=video))
    return clips


def draw_scenes(
    rng: random.Random, stage: Stage, done: float, renders: Mapping[str, Renders] | None = None
) -> tuple[list[Scene], str]:
    """Draw the scenes of a step, all of one size, and choose the name of its mix of questions.

    Args:
        rng: source of all random choices.
        stage: the stage of the step.
        done: share of the stage's steps that are done.
        renders: rendered scenes by their kind, for the stages that have some.

    """
    if rng.random() < _CLIPS.get(stage.name, 0):
        medium = rng.choice(('video', 'video', 'images'))
        return draw_clips(rng, stage, video=medium == 'video'), f'{stage.name} {medium}'
    width, height = image_size(rng)
    rendered = renders if renders and rng.random() < _RENDERED.get(stage.name, 0) else {}
    if rng.random() < _ROADS[stage.name]:
        if 'surround' in rendered and stage.name not in SILENT and rng.random() < _SURROUNDS:
            moments = rendered['surround'].draw(rng, max(2, stage.images // len(road_scene.VIEWS)))
            return [*moments], f'{stage.name} surround'
        roads: list[Scene] = [*rendered['road'].draw(rng, stage.images)] if (
            'road' in rendered) else [
            road_scene.draw_road(rng, width, height) for _ in range(stage.images)]
        return roads, stage.name if stage.name in SILENT else f'{stage.name} road'
    # Finding the named thing among two or three is learnt first, and everything else builds on it.
    mixes = 'few' if stage.name == 'ask' and done < _FEW_SHARE else stage.name
    least, most = (3, 7) if mixes in SILENT else (2, 3) if mixes == 'few' else (2, 6)
    if 'room' in rendered and rng.random() < _ROOMS:
        return [*rendered['room'].draw(rng, stage.images, most)], mixes
    if 'table' in rendered:
        return [*rendered['table'].draw(rng, stage.images, most)], mixes
    tables: list[Scene] = [
        table_scene.draw_table(rng, width, height, least, most, alike=rng.random() < _ALIKE)
        for _ in range(stage.images)]
    return tables, mixes


def pack_questions(
    rng: random.Random, packer: packing.Packer, scenes: Sequence[Scene], mixes: str, stage: Stage
) -> packing.PackedBatch:
    """Make one round of questions about the scenes, packed into a batch."""
    chosen = _MIXES[mixes]
    _, want, form, blocks, length = rng.choices(chosen, [m[0] for m in chosen])[0]
    examples = []
    for scene in scenes:
        questions = _questions(rng, scene, blocks, want)
        examples.append([make_example(
            rng, q, scene, form, checks=stage.checks, refusals=stage.refusals) for q in questions])
    clips = [scene for scene in scenes if isinstance(scene, ClipView)]
    moments = [scene for scene in scenes if isinstance(scene, road_scene.Surround)]
    if moments:
        return packer.pack_clips([[road.pixels for road in moment.roads] for moment in moments],
                                 examples, blocks, length, stage.units)
    if not clips:
        return packer.pack(
            [scene.pixels for scene in scenes], examples, blocks, length, stage.units)
    step = PAIR * table_clip.INTERVAL * untrained_model.TOKENS_PER_SECOND
    return packer.pack_clips(
        [[table.pixels for table in scene.clip.frames] for scene in clips], examples, blocks,
        length, stage.units, step=step if clips[0].video else None,
        compared=[scene.looks_back() for scene in clips])


def pictures(scenes: Sequence[Scene]) -> list[table_scene.Table | road_scene.Road]:
    """Return what each picture of the scenes shows: one of each, but several of a clip."""
    return [picture for scene in scenes
            for picture in (scene.tables if isinstance(scene, ClipView) else
                            scene.roads if isinstance(scene, road_scene.Surround) else [scene])]
