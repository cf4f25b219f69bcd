"""Training examples: questions in the forms that the stages of the training need.

An example carries what some heads are taught to attend to; see `taught_attention`.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.query import Task
from mimo_embodied_ros.core.resize import FACTOR
from mimo_embodied_ros.worlds import road_scene, table_scene
from mimo_embodied_ros.worlds.things import COLOURS

from . import packing, table_questions, vision_supervision
from .clip_supervision import ClipView
from .question import YES_NO_TAIL, Question
from .taught_attention import Mention, Option

if TYPE_CHECKING:
    import random

Scene = table_scene.Table | road_scene.Road | road_scene.Surround | ClipView
_CHECKS = ('check', 'done')  # questions whose text alone does not say what is asked


def _token(scene: Scene, thing: table_scene.Thing | road_scene.RoadObject) -> int:
    """The image token in which a thing lies."""
    if isinstance(scene, ClipView):
        return scene.last_seen(thing.name)
    rows, columns = (side // FACTOR for side in scene.pixels.shape[:2])
    if isinstance(scene, road_scene.Surround):
        rows //= len(road_scene.VIEWS)
        (view,) = scene.views_of(thing.name)
        return view * rows * columns + vision_supervision.token_of(thing, rows, columns)
    return vision_supervision.token_of(thing, rows, columns)


def _mentions(text: str, scene: Scene) -> tuple[Mention, ...]:
    """Find the names of things in a text, in its order: full ones, and short unique ones."""
    found = []
    for thing in scene.things:
        token = _token(scene, thing)
        names = [thing.name]
        if isinstance(scene, table_scene.Table) and isinstance(thing, table_scene.Thing):
            names += table_questions.short_names(scene, thing)
        found += [Mention(match.end(), token) for name in names
                  for match in re.finditer(rf'(?:\b(\w+) )?\b{name}\b', text)
                  if match[1] not in COLOURS]  # the blue cup is no unique cup that is red
    return tuple(sorted(found))


def _counted(question: Question, prompt: str, scene: Scene) -> tuple[Mention, ...]:
    """The word whose number is asked for, with each of the things."""
    if question.kind != 'count':
        return ()
    end = prompt.index(' are there?')
    return tuple(Mention(end, _token(scene, thing)) for thing in question.things)


def _seen(question: Question, scene: Scene) -> int:
    """The image token that shows the answer about a clip; -1: none does."""
    if not isinstance(scene, ClipView) or question.kind == 'done':
        return -1
    if question.kind == 'moved':
        return scene.left(question.short)
    return scene.touched(scene.clip.touched[-1])


def _options(question: Question, prompt: str) -> tuple[Option, ...]:
    """The options in a prompt whose answer is one of their letters."""
    if question.kind not in {'choice', 'touched'}:
        return ()
    return tuple(Option(match.end(1), match.end(2), match[1] == question.short)
                 for match in re.finditer(r'^([A-D])\. (.+)$', prompt, re.MULTILINE))


def make_example(
    rng: random.Random, question: Question, scene: Scene, form: str, *, checks: bool = True,
    refusals: float = 1.0,
) -> packing.Example:
    """Make a training example of a question, in one of four forms.

    ``bare``: the informative words alone. ``spoken`` and ``thinking``: as the package asks a
    model. ``partly``: each wrapper is there by chance, so that the model learns to answer without
    relying on any of them.

    Args:
        rng: source of all random choices.
        question: the question.
        scene: what it is about.
        form: one of the four.
        checks: whether a head is taught which word decides the sense of a check.
        refusals: weight of the answer that nothing is there.

    """
    text = question.text + question.task.list_options(question.options)
    if form == 'bare':
        named = question.task in {Task.POINTS, Task.BOXES} or question.kind in _CHECKS
        prompt = (f'{question.task.name}: {text}' if named else text).removesuffix(YES_NO_TAIL)
        spatial = question.task is Task.SPATIAL
        reply, bare = question.answer if spatial else question.short, True
    elif form == 'partly':
        with_prompt, with_thought, bare = (rng.random() < 0.5 for _ in range(3))
        full_prompt = question.prompt(thinking=rng.random() < 0.5)
        # the text of a check alone does not say what is asked about it
        prompt = full_prompt if with_prompt or question.kind in _CHECKS else text
        reply = question.reply() if with_thought else question.answer
    else:
        if question.short and question.task is Task.SPATIAL and rng.random() < 0.15:
            question = dataclasses.replace(question, task=Task.ASK, answer=question.short)
        thinking, bare = form == 'thinking', False
        prompt, reply = question.prompt(thinking=thinking), question.reply(thinking=thinking)
    return packing.Example(
        prompt, reply, question.short, question.kind, _weight(question, refusals), bare,
        _mentions(prompt, scene), _mentions(reply, scene), question.task is not Task.PLAN,
        _sense_word(question, prompt, checks=checks), _options(question, prompt),
        _counted(question, prompt, scene), _seen(question, scene))


def _sense_word(question: Question, prompt: str, *, checks: bool) -> int:
    """Where the word ends that decides the sense of a question; 0: there is no such word."""
    if question.short not in {'yes', 'no'}:
        return 0
    words = r'\b(left|right|above|below|top|bottom|bigger|nearest)\b'
    if question.kind == 'check':
        words = r'reached' if 'reached' in prompt else r'possible|satisfied|is_done'
    match = re.search(words, prompt) if checks or question.kind != 'check' else None
    return match.end() if match else 0


def _weight(question: Question, refusals: float) -> float:
    """Weight of the answer: a word or number is one token, where a point is eight."""
    if question.short == '[]':
        return refusals
    return 4.0 if question.short.isalnum() else 1.0
