"""Clips of a drawn table: their truth, the questions about them, and packed rows with clips."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip('torch')

import torch
from tokenizers import Tokenizer
from transformers import AutoConfig

from mimo_embodied_ros.core.answers import SpatialAnswer, TextAnswer
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.parse import parse_answer
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.core.tasks import TASKS
from mimo_embodied_ros.core.video import PAIR
from mimo_embodied_ros.embedded import (
    clip_questions,
    curriculum,
    packed_model,
    packing,
    untrained_model,
)
from mimo_embodied_ros.embedded.clip_supervision import ClipView
from mimo_embodied_ros.embedded.evaluate import DrawnScenes, Exam
from mimo_embodied_ros.embedded.examples import make_example
from mimo_embodied_ros.embedded.question import Question
from mimo_embodied_ros.embedded.vision_supervision import token_of
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.engine.processor import PromptEncoder, load_processor
from mimo_embodied_ros.worlds import table_scene, things
from mimo_embodied_ros.worlds.table_clip import FRAMES, INTERVAL, TableClip, draw_clip
from support.paths import EMBEDDED_MODEL

SEEDS = st.integers(0, 2**32)
LIMITS = PixelLimits(28 * 28, 1280 * 28 * 28)


def displaced(clip: TableClip) -> set[str]:
    """Names of the things that do not lie at the end where they lay at the beginning."""
    places = [{t.name: (t.x, t.y) for t in frame.things} for frame in
              (clip.frames[0], clip.frames[-1])]
    return {name for name, place in places[0].items() if places[1].get(name) != place}


def visited(clip: TableClip) -> list[str]:
    """Names of the things at whose points the gripper was, before anything was carried."""
    names: list[str] = []
    for gripper in clip.grippers:
        names += [t.name for t in clip.frames[0].things
                  if gripper == (t.x, t.y) and t.name not in names]
    return names


def frames_of(clip: TableClip) -> tuple[Frame, ...]:
    return tuple(Frame(table.pixels, round(i * INTERVAL * 1e9))
                 for i, table in enumerate(clip.frames))


def questions(rng: random.Random, clip: TableClip) -> list[Question]:
    return [question for maker in clip_questions.MAKERS if (question := maker(rng, clip))]


@given(seed=SEEDS)
@settings(max_examples=15)
def test_what_a_clip_says_is_what_its_frames_show(seed: int) -> None:
    clip = draw_clip(random.Random(seed), 168, 140)
    assert len(clip.frames) == len(clip.grippers) == FRAMES
    assert displaced(clip) == ({clip.moved} if clip.moved else set())
    assert visited(clip)[: len(clip.touched)] == list(clip.touched)
    inside = {t.name for t in clip.frames[0].things} - {t.name for t in clip.frames[-1].things}
    assert inside == ({clip.moved} if clip.container else set())
    if clip.container:  # it was let go there
        (holder,) = [t for t in clip.frames[0].things if t.name == clip.container]
        assert (holder.x, holder.y) in clip.grippers
    pixels = [table.pixels for table in clip.frames]
    for before, after, (a, b), (now, then) in zip(
            pixels, pixels[1:], zip(clip.grippers, clip.grippers[1:], strict=False),
            zip(clip.frames, clip.frames[1:], strict=False), strict=False):
        still = a == b and now.things == then.things
        assert np.array_equal(before, after) is still  # nothing but the event changes
    for table, gripper in zip(clip.frames, clip.grippers, strict=True):
        if gripper is None and table.things == clip.frames[0].things:
            for thing in table.things:
                assert table_scene.mask(table, thing).any()


@given(seed=SEEDS)
@settings(max_examples=15)
def test_right_replies_about_clips_are_read_as_the_typed_answers(seed: int) -> None:
    rng = random.Random(seed)
    clip = draw_clip(rng, 168, 140)
    for question in questions(rng, clip):
        thinking = rng.random() < 0.5
        query = Query(question.task, question.text, frames_of(clip), thinking=thinking,
                      options=question.options)
        prompt = build_prompt(query, LIMITS)
        assert question.prompt(thinking=thinking) == prompt.text
        content = parse_answer(query, prompt, question.reply(thinking=thinking), 'stop').content
        if question.kind == 'moved':
            assert prompt.videos
            assert isinstance(content, TextAnswer)
            assert {content.text} == displaced(clip)
        elif question.kind == 'touched':
            assert isinstance(content, SpatialAnswer)
            assert question.options['ABCD'.index(content.choice)] == visited(clip)[-1]
        else:
            assert len(prompt.images) == FRAMES
            assert isinstance(content, SpatialAnswer)
            first, last = clip.frames[0].things, clip.frames[-1].things
            named = [t for t in first if t.name in question.text]
            gone = [t for t in named if t not in last and t.name not in {x.name for x in last}]
            holder = [t.name for t in named if t.shape in things.CONTAINERS]
            assert content.yes is bool(gone and clip.container in holder)


def test_clips_give_every_kind_of_question_with_every_answer() -> None:
    rng = random.Random(2)
    asked: dict[str, set[str]] = {}
    for _ in range(80):
        for question in questions(rng, draw_clip(rng, 84, 84)):
            asked.setdefault(question.kind, set()).add(question.short)
    assert asked.keys() == {'moved', 'touched', 'done'}
    assert asked['done'] == {'yes', 'no'}
    assert asked['touched'] >= {'A', 'B', 'C'}
    assert len(asked['moved']) > 10


@pytest.fixture(scope='module')
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(EMBEDDED_MODEL / 'tokenizer.json'))


@pytest.mark.parametrize('medium', ['video', 'images'])
def test_packed_rows_of_clips_equal_conversations_of_their_own(
    medium: str, tokenizer: Tokenizer
) -> None:
    plain = untrained_model.new_model(tokenizer)
    packed = untrained_model.new_model(tokenizer)
    packed_model.use_packed_attention(packed)
    rng = random.Random(4)
    clips = [[table.pixels for table in draw_clip(rng, 84, 56).frames][: 5] for _ in range(2)]
    examples = [[packing.Example(f'{name} {row}?', f'it is {name}.', name, 'moved')
                 for name in ('red cube', 'bowl')] for row in range(2)]
    step = plain.config.vision_config.tokens_per_second * PAIR * INTERVAL
    batch = packing.Packer(tokenizer).pack_clips(
        clips, examples, 2, 40, step=step if medium == 'video' else None)
    rows, columns = batch.grid
    assert (rows, columns) == (2, 3)
    images = 3 if medium == 'video' else 5  # a pair, a pair, and one that has no partner
    assert len(batch.image_at) == images * 6
    each = batch.patches.shape[0] // 2
    media = {'pixel_values': 'image_grid_thw'}
    grid = torch.tensor([[1, 2 * rows, 2 * columns]] * images)
    if medium == 'video':
        media = {'pixel_values_videos': 'video_grid_thw'}
        grid = torch.tensor([[images, 2 * rows, 2 * columns]])
    (pixels_key, grid_key), = media.items()
    with torch.no_grad():
        image_tokens = packed_model.encode_images(packed, batch.patches, batch.grid)[0]
        logits, (at_row, at_column), *_ = packed_model.answer_questions(
            packed, batch, image_tokens)
        length, compared = 40, 0
        for row in range(2):
            for block in range(2):
                begin = batch.prefix + block * length
                here = (at_row == row) & (at_column >= begin) & (at_column < begin + length)
                places = [*range(batch.prefix), *range(begin, begin + length)]
                ids = batch.ids[row, places][None]
                alone = plain(
                    input_ids=ids, attention_mask=torch.ones_like(ids),
                    position_ids=batch.positions[:, None, places],
                    **{pixels_key: batch.patches[row * each : (row + 1) * each], grid_key: grid},
                ).logits[0]
                mine = at_column[here] - begin + batch.prefix
                torch.testing.assert_close(logits[here], alone[mine], atol=1e-4, rtol=1e-4)
                compared += int(here.sum())
    assert compared == len(logits) > 20


def test_a_packed_video_is_the_prompt_that_the_engine_makes_of_a_clip(
    tokenizer: Tokenizer
) -> None:
    processor = load_processor(EMBEDDED_MODEL)
    clip = draw_clip(random.Random(1), 168, 140)
    question = Question('moved', TASKS['ask_video'], 'What moved?', 'it', 'it')
    prompt = build_prompt(Query(question.task, question.text, frames_of(clip)), LIMITS)
    config = AutoConfig.from_pretrained(EMBEDDED_MODEL)
    encoded = PromptEncoder(processor, config).encode(prompt)
    assert encoded.positions is not None
    step = config.vision_config.tokens_per_second * PAIR * INTERVAL
    example = packing.Example(question.prompt(), question.reply(), 'it', 'moved')
    batch = packing.Packer(tokenizer).pack_clips(
        [list(prompt.videos[0].frames)], [[example]], 1, 60, step=step)
    length = len(encoded.tokens)
    assert batch.ids[0, :length].tolist() == encoded.tokens.tolist()
    assert batch.positions[:, :length].T.tolist() == encoded.positions.tolist()
    own = torch.cat([image.patches() for image in encoded.images])
    torch.testing.assert_close(batch.patches, own, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('video', [True, False])
def test_training_shows_clips_as_the_package_sends_them(video: bool) -> None:
    stage = dataclasses.replace(
        next(s for s in curriculum.STAGES if s.name == 'speak'), images=8)
    medium = 'video' if video else 'images'
    rng = random.Random(3)
    clips = curriculum.draw_clips(rng, stage, video=video)
    batch = curriculum.pack_questions(
        rng, packing.Packer(untrained_model.new_tokenizer()), clips, f'speak {medium}', stage)
    pictures = curriculum.pictures(clips)
    assert len(pictures) == len(clips) * (FRAMES // PAIR if video else FRAMES)
    rows, columns = batch.grid
    assert batch.patches.shape[0] == len(pictures) * rows * columns * 4
    assert set(batch.kinds.flatten()) - {''} <= ({'moved', 'touched'} if video else {'done'})
    assert (batch.labels != packing.IGNORE).any(1).all()  # something is asked about each
    assert len(batch.compared)


@given(seed=SEEDS)
@settings(max_examples=15)
def test_the_taught_tokens_of_a_clip_are_where_its_events_were(seed: int) -> None:
    clip = draw_clip(random.Random(seed), 168, 140)
    cells = 6 * 5
    pairs, frames = ClipView(clip, video=True), ClipView(clip, video=False)
    for view in (pairs, frames):
        for thing, (last, first) in zip(clip.frames[0].things, view.looks_back(), strict=True):
            cell = token_of(thing, 5, 6)
            assert first == cell
            assert last == view.left(thing.name) == (len(view.tables) - 1) * cells + cell
    for name in {t.name for t in clip.frames[0].things} - {clip.moved}:
        assert frames.last_seen(name) == frames.left(name)
    if clip.container:  # last seen over the container, before it was let go
        holder = next(t for t in clip.frames[0].things if t.name == clip.container)
        assert frames.last_seen(clip.moved) % cells == token_of(holder, 5, 6)
        assert frames.last_seen(clip.moved) < frames.left(clip.moved)
    if not clip.moved:
        name = clip.touched[-1]
        thing = next(t for t in clip.frames[0].things if t.name == name)
        last_touch = max(i for i, g in enumerate(clip.grippers) if g == (thing.x, thing.y))
        assert divmod(pairs.touched(name), cells) == (last_touch // PAIR, token_of(thing, 5, 6))


def test_the_bare_form_of_a_choice_about_a_clip_keeps_its_options() -> None:
    rng = random.Random(1)
    clip = next(c for _ in range(50) if not (c := draw_clip(rng, 84, 84)).moved)
    question = clip_questions.touched_last(rng, clip)
    assert question is not None
    example = make_example(rng, question, ClipView(clip, video=True), 'bare')
    for letter, option in zip('ABCD', question.options, strict=False):
        assert f'\n{letter}. {option}' in example.prompt
    assert [option.right for option in example.options].index(True) == (
        'ABCD'.index(question.short))


def test_the_exam_asks_about_clips() -> None:
    engine = load_engine(EngineConfig(model=str(EMBEDDED_MODEL)))
    try:
        exam = Exam(engine, 4, 1, DrawnScenes())
        exam.clips()
    finally:
        engine.close()
    assert exam.scores.counts() == {
        f'clip {maker.__name__}': 1 for maker in clip_questions.MAKERS}
