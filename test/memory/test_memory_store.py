"""What becomes of sightings in a memory, and what it tells of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.geometry.poses import Pose
from mimo_embodied_ros.memory.store import Memory
from support.sightings import AHEAD, S, search, seen, sighting, view

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mimo_embodied_ros.memory.sighting import RememberedThing, SeenThing

DAY_S = 86400.0
BASE = Pose((0.0, 0.5, 0.0), (0.0, 0.0, 0.0, 1.0))


@pytest.fixture
def memory() -> Iterator[Memory]:
    memory = in_ram()
    yield memory
    memory.close()


def in_ram(**limits: Any) -> Memory:
    memory = Memory('', **limits)
    memory.begin_session('odom', 'one')
    return memory


def the_thing(memory: Memory) -> RememberedThing:
    [thing] = memory.things()
    return thing


def names(memory: Memory) -> list[str]:
    return sorted(thing.name for thing in memory.things())


# -- one thing


def test_all_that_a_sighting_tells_is_remembered(memory: Memory) -> None:
    covariance = (1e-4, 0.0, 1e-5, 0.0, 2e-4, 0.0, 1e-5, 0.0, 3e-4)
    memory.begin_session('map', 'it')
    memory.add(sighting(
        seen('red cup', (1.1, 0.2, 0.3), size=(0.1, 0.2, 0.3), covariance=covariance,
             pixel=(12.5, 7.25)),
        view=view(2.0, position=(0.1, 0.0, 0.9)), base=BASE, base_frame='map', picture=b'jpeg',
        question='find the cup', stamp_s=5))
    thing = the_thing(memory)
    assert (thing.name, thing.stamp_ns, thing.first_ns, thing.sightings, thing.missed) == (
        'red cup', 5 * S, 5 * S, 1, 0)
    assert (thing.position, thing.size, thing.covariance, thing.pixel) == (
        (1.1, 0.2, 0.3), (0.1, 0.2, 0.3), covariance, (12.5, 7.25))
    assert (thing.camera_pose, thing.base, thing.base_frame) == (
        Pose((0.1, 0.0, 0.9), AHEAD), BASE, 'map')
    assert (thing.frame_id, thing.session, thing.camera, thing.question, thing.image_size) == (
        'odom', 'one', 'head', 'find the cup', (640, 480))
    assert (thing.picture, thing.fit, thing.place_problem) == (b'jpeg', 0.0, '')


def test_texts_of_any_characters_are_remembered(memory: Memory) -> None:
    memory.add(sighting(seen('红色杯子 \ud800\0"'), camera="'; DROP TABLE remembered; --"))
    assert the_thing(memory).name == '红色杯子 \ud800\0"'


def test_what_is_seen_again_takes_the_newest_and_keeps_the_first(memory: Memory) -> None:
    memory.add(sighting(seen('red cup', pixel=(1, 1)), stamp_s=1, picture=b'first',
                        image_size=(320, 240)))
    memory.add(search('red cup', stamp_s=2))  # missed
    assert the_thing(memory).missed == 1
    memory.add(sighting(seen('cup', (1.1, 0.0, 0.0), size=(0.1,) * 3, pixel=(2, 2)), stamp_s=3,
                        view=view(), camera='arm'))
    thing = the_thing(memory)
    assert (thing.name, thing.sightings, thing.missed, thing.missed_ns) == ('red cup', 2, 0, 0)
    assert (thing.first_ns, thing.stamp_ns) == (S, 3 * S)
    assert (thing.position, thing.size, thing.camera) == ((1.1, 0.0, 0.0), (0.1,) * 3, 'arm')
    assert thing.camera_pose is not None
    assert (thing.picture, thing.pixel, thing.image_size) == (b'first', (1, 1), (320, 240))
    memory.add(sighting(seen('large red cup', pixel=(3, 3)), stamp_s=4, picture=b'last'))
    thing = the_thing(memory)
    assert (thing.name, thing.picture, thing.pixel, thing.image_size) == (
        'large red cup', b'last', (3, 3), (640, 480))


@pytest.mark.parametrize(('first', 'second', 'count'), [
    (seen('cup'), seen('cup', (1.14, 0, 0)), 1),
    (seen('cup'), seen('cup', (1.16, 0, 0)), 2),
    (seen('cup'), seen('blue cup', (1.1, 0, 0)), 1),
    (seen('red cup'), seen('blue cup', (1.0, 0, 0)), 2),
    (seen('cup'), seen('?'), 2),
    (seen('?'), seen('cup'), 2),
    # half of the larger extent of both
    (seen('box', size=(0.2, 0.6, 0.2)), seen('box', (1.44, 0, 0), size=(0.1,) * 3), 1),
    (seen('box', size=(0.1,) * 3), seen('box', (1.44, 0, 0), size=(0.2, 0.6, 0.2)), 1),
    (seen('box', size=(0.2, 0.6, 0.2)), seen('box', (1.46, 0, 0), size=(0.6,) * 3), 2),
    # two standard deviations, 0.1 m in x and 0.01 m in y, of each
    (seen('cup', covariance=(0.01, 0, 0, 0, 1e-4, 0, 0, 0, 0)), seen('cup', (1.34, 0, 0)), 1),
    (seen('cup'), seen('cup', (1.34, 0, 0), covariance=(0.01, 0, 0, 0, 1e-4, 0, 0, 0, 0)), 1),
    (seen('cup', covariance=(0.01, 0, 0, 0, 1e-4, 0, 0, 0, 0)), seen('cup', (1.36, 0, 0)), 2),
    (seen('cup', covariance=(0.01, 0, 0, 0, 1e-4, 0, 0, 0, 0)), seen('cup', (1, 0.18, 0)), 2),
])
def test_near_and_alike_is_one_thing(
    memory: Memory, first: SeenThing, second: SeenThing, count: int
) -> None:
    memory.add(sighting(first))
    memory.add(sighting(second, stamp_s=2))
    assert len(memory.things()) == count


@pytest.mark.parametrize('others', [{'frame_id': 'map'}, {'session': 'two'}])
def test_places_of_two_frames_or_sessions_are_not_compared(
    memory: Memory, others: dict[str, str]
) -> None:
    memory.add(sighting(seen()))
    memory.add(sighting(seen(), stamp_s=2, **others))
    assert len(memory.things()) == 2


def test_the_nearest_pairs_come_first_and_each_thing_once(memory: Memory) -> None:
    memory.add(sighting(seen('cup', (1.0, 0, 0)), seen('cup', (1.1, 0, 0))))
    assert len(memory.things()) == 2
    memory.add(sighting(seen('cup', (1.12, 0, 0)), seen('cup', (1.06, 0, 0)), stamp_s=2))
    assert sorted((t.position[0], t.sightings) for t in memory.things()) == [(1.06, 2), (1.12, 2)]
    memory.add(sighting(*(seen('cup', (x, 0, 0)) for x in (1.06, 1.12, 1.13)), stamp_s=3))
    assert sorted((t.position[0], t.sightings) for t in memory.things()) == [
        (1.06, 3), (1.12, 3), (1.13, 1)]


def test_an_older_sighting_moves_nothing_back(memory: Memory) -> None:
    memory.add(sighting(seen('cup', (1.1, 0, 0), pixel=(1, 1)), stamp_s=10, picture=b'new'))
    memory.add(sighting(seen('red cup', (1.0, 0, 0)), stamp_s=4, picture=b'old'))
    thing = the_thing(memory)
    assert (thing.name, thing.position, thing.picture, thing.pixel) == (
        'red cup', (1.1, 0, 0), b'new', (1, 1))
    assert (thing.first_ns, thing.stamp_ns, thing.sightings) == (4 * S, 10 * S, 2)


def test_a_clock_that_fell_back_stops_nothing(memory: Memory) -> None:
    memory.add(sighting(seen('cup', (1.0, 0, 0)), seen('box', (3.0, 0, 0)), stamp_s=100_000))
    memory.add(sighting(seen('cup', (1.1, 0, 0)), stamp_s=3))
    memory.add(search('box', stamp_s=4, view=view(4.0)))
    cup, box = sorted(memory.things(), key=lambda thing: thing.position)
    assert (cup.position, cup.stamp_ns, cup.sightings) == ((1.1, 0, 0), 3 * S, 2)
    assert (box.stamp_ns, box.missed) == (100_000 * S, 1)


positions = st.tuples(*3 * [st.floats(-2, 2)])
things = st.lists(st.builds(
    seen, st.sampled_from(['cup', 'red cup', 'blue cup', 'box']), positions), min_size=1,
    max_size=6)


@settings(deadline=None, max_examples=30)
@given(things=things, times=st.integers(1, 4))
def test_the_same_sighting_changes_nothing_but_its_number(
    things: list[SeenThing], times: int
) -> None:
    memory = in_ram()
    for number in range(times):
        memory.add(sighting(*things, stamp_s=number))
    assert sorted((t.name, t.position) for t in memory.things()) == sorted(
        (thing.name, thing.position) for thing in things)
    assert {thing.sightings for thing in memory.things()} == {times}


@settings(deadline=None, max_examples=30)
@given(first=things, second=things, data=st.data())
def test_the_order_of_things_does_not_matter(
    first: list[SeenThing], second: list[SeenThing], data: st.DataObject
) -> None:
    found = []
    for one, other in ((first, second), (data.draw(st.permutations(first)),
                                         data.draw(st.permutations(second)))):
        memory = in_ram()
        memory.add(sighting(*one))
        memory.add(search('cup', *other, stamp_s=2))
        found.append(sorted((t.name, t.position, t.sightings, t.missed) for t in memory.things()))
    assert found[0] == found[1]


# -- things that are gone


@pytest.mark.parametrize(('others', 'missed'), [
    ({}, 1),
    ({'question': 'Where is the cup?'}, 1),
    ({'question': 'blue cup'}, 0),
    ({'question': 'What do you see?'}, 0),  # names nothing that could be missed
    ({'complete': False}, 0),
    ({'view': None}, 0),
    ({'view': view(0.5)}, 0),  # hidden
    ({'view': view(position=(2.0, 0.0, 0.0))}, 0),  # behind the camera
    ({'view': view(position=(0.0, 2.0, 0.0))}, 0),  # beside the image
    ({'frame_id': 'map'}, 0),
    ({'session': 'two'}, 0),
    ({'stamp_s': 1}, 0),  # the image that shows it
    ({'stamp_s': 0.5}, 0),
])
def test_a_thing_is_missed_where_its_place_is_seen_without_it(
    memory: Memory, others: dict[str, Any], missed: int
) -> None:
    memory.add(sighting(seen()))
    memory.add(search(**{'stamp_s': 2, **others}))
    thing = the_thing(memory)
    assert (thing.missed, thing.missed_ns) == (missed, 2 * S * missed)
    assert (thing.position, thing.stamp_ns, thing.sightings) == ((1, 0, 0), S, 1)


def test_an_image_that_lacks_a_thing_counts_once(memory: Memory) -> None:
    memory.add(sighting(seen()))
    for stamp_s, missed in ((3, 1), (3, 1), (2, 1), (4, 2)):
        memory.add(search(stamp_s=stamp_s))
        assert the_thing(memory).missed == missed
    assert the_thing(memory).missed_ns == 4 * S


def test_a_thing_that_was_gone_later_is_still_missed(memory: Memory) -> None:
    memory.add(sighting(seen(), stamp_s=1))
    memory.add(search(stamp_s=3))
    memory.add(sighting(seen(), stamp_s=2))  # an answer that comes late
    assert (the_thing(memory).sightings, the_thing(memory).missed) == (2, 1)


def test_other_things_in_a_complete_sighting_are_missed(memory: Memory) -> None:
    memory.add(sighting(seen('cup', (1, 0, 0)), seen('cup', (1, 0.4, 0)), seen('box', (1, 0, 0))))
    memory.add(search('cup', seen('cup', (1, 0, 0)), stamp_s=2))
    assert sorted((t.name, t.sightings, t.missed) for t in memory.things()) == [
        ('box', 1, 0), ('cup', 1, 1), ('cup', 2, 0)]
    assert not memory.searches()


def test_a_thing_that_moved_is_not_two(memory: Memory) -> None:
    memory.add(sighting(seen('red cup', (1, 0, 0))))
    known = the_thing(memory).id
    memory.add(search('cup', seen('cup', (2, 0.5, 0)), stamp_s=2))  # missed by this very sighting
    thing = the_thing(memory)
    assert (thing.id, thing.name, thing.position) == (known, 'red cup', (2, 0.5, 0))
    assert (thing.sightings, thing.missed, thing.missed_ns) == (2, 0, 0)
    memory.add(search('cup', stamp_s=3))
    memory.add(sighting(seen('red cup', (5, 5, 0)), stamp_s=9))  # missed before
    assert (the_thing(memory).id, the_thing(memory).position) == (known, (5, 5, 0))


def test_a_thing_that_may_still_be_there_has_not_moved(memory: Memory) -> None:
    memory.add(sighting(seen('cup', (1, 0, 0))))
    memory.add(search('cup', seen('cup', (2, 3, 0)), view=view(0.5), stamp_s=2))
    assert len(memory.things()) == 2


def test_what_fits_best_has_moved_and_of_that_the_last_seen(memory: Memory) -> None:
    memory.add(sighting(seen('cup', (1, 0.4, 0)), stamp_s=1))
    memory.add(sighting(seen('red cup', (1, 0, 0)), stamp_s=2))
    memory.add(sighting(seen('red cup', (1, -0.4, 0)), stamp_s=3))
    memory.add(search('cup', stamp_s=4))
    assert [thing.missed for thing in memory.things()] == [1, 1, 1]
    memory.add(sighting(seen('red cup', (3, 3, 0)), stamp_s=5))
    assert sorted((t.position[1], t.sightings) for t in memory.things()) == [
        (0, 1), (0.4, 1), (3, 2)]


def test_an_older_sighting_elsewhere_is_no_move(memory: Memory) -> None:
    memory.add(sighting(seen('cup', (1, 0, 0)), stamp_s=5))
    memory.add(search('cup', stamp_s=6))
    memory.add(sighting(seen('cup', (3, 0, 0)), stamp_s=4))
    assert sorted((t.position[0], t.missed) for t in memory.things()) == [(1, 1), (3, 0)]


def test_a_search_in_vain_is_remembered(memory: Memory) -> None:
    memory.add(search('Where is the red cup?', picture=b'empty table', stamp_s=2))
    memory.add(search('box', stamp_s=3))
    memory.add(sighting(question='cup', complete=False))
    box, cup = memory.searches()
    assert (box.what, box.picture) == ('box', b'')
    assert (cup.what, cup.stamp_ns, cup.frame_id, cup.session, cup.camera, cup.picture) == (
        'Where is the red cup?', 2 * S, 'odom', 'one', 'head', b'empty table')
    assert (cup.camera_pose, cup.place_problem, cup.fit) == (view().pose, '', 0.0)
    things, found = memory.recall('cup', now_ns=9 * S)
    assert not things
    assert [(s.what, s.picture) for s in found] == [('Where is the red cup?', b'empty table')]
    assert found[0].fit == pytest.approx(2 / 3)


def test_a_search_without_a_view_has_no_place(memory: Memory) -> None:
    memory.add(search(view=None))
    [found] = memory.searches()
    assert found.camera_pose is None
    assert 'look for it again' in found.place_problem


# -- sessions


def test_places_of_an_earlier_session_are_not_given(memory: Memory) -> None:
    memory.add(sighting(seen(), view=view(), base=BASE, base_frame='odom', picture=b'jpeg'))
    memory.add(search('box'))
    assert the_thing(memory).base == BASE
    memory.begin_session('odom', 'two')
    for thing in (the_thing(memory), memory.recall('cup', now_ns=S)[0][0]):
        assert all(map(math.isnan, thing.position))
        assert thing.camera_pose is thing.base is None
        assert 'odom was begun anew' in thing.place_problem
        assert 'look for it again' in thing.place_problem
        assert thing.picture == b'jpeg'
    [found] = memory.searches()
    assert found.camera_pose is None
    assert 'odom was begun anew' in found.place_problem
    memory.begin_session('odom', 'one')  # a map that is loaded again
    assert the_thing(memory).position == (1, 0, 0)
    assert the_thing(memory).base == BASE


def test_a_frame_without_a_session_has_no_places() -> None:
    memory = Memory('')
    memory.add(sighting(seen(), frame_id='map'))
    assert 'map is not there at present' in the_thing(memory).place_problem
    assert math.isnan(the_thing(memory).position[0])


def test_the_base_has_a_session_of_its_own(memory: Memory) -> None:
    memory.begin_session('map', 'it')
    memory.add(sighting(seen(), base=BASE, base_frame='map'))
    memory.begin_session('odom', 'two')
    assert the_thing(memory).place_problem
    assert the_thing(memory).base == BASE  # the map is still the same
    memory.begin_session('map', 'other')
    assert the_thing(memory).base is None


# -- recall


def test_known_places_come_first_then_what_fits_then_the_newest(memory: Memory) -> None:
    memory.add(sighting(seen('red cup', (9, 9, 9)), session='earlier', stamp_s=9))
    for stamp_s, name in enumerate(('red cup', 'cup', 'large red cup', 'red cup', 'box'), 1):
        memory.add(sighting(seen(name, (stamp_s, 0, 0)), stamp_s=stamp_s))
    found, _ = memory.recall('Where is the red cup?', now_ns=9 * S)
    assert [(t.name, t.stamp_ns // S) for t in found] == [
        ('red cup', 4), ('red cup', 1), ('large red cup', 3), ('cup', 2), ('red cup', 9)]
    assert [t.fit for t in found] == pytest.approx([1, 1, 0.8, 2 / 3, 1])
    found, _ = memory.recall(now_ns=9 * S)
    assert [(t.name, t.fit) for t in found][:2] == [('box', 0), ('red cup', 0)]
    assert len(found) == 6
    assert len(memory.recall(now_ns=9 * S, limit=2)[0]) == 2


def test_what_is_near_is_found(memory: Memory) -> None:
    memory.add(sighting(*(seen('cup', (x, 0, 0)) for x in range(6))))
    memory.add(sighting(seen('cup'), frame_id='map'))
    memory.add(sighting(seen('cup'), session='earlier'))
    found, _ = memory.recall('cup', now_ns=S, near=('odom', (2, 0.5, 0), 1.2))
    assert sorted(t.position[0] for t in found) == [1, 2, 3]  # the corner of a box is too far
    assert not memory.recall('cup', now_ns=S, near=('map', (1, 0, 0), 9.0))[0]


def test_what_a_view_shows_is_found(memory: Memory) -> None:
    memory.add(sighting(seen('cup', (1, 0, 0)), seen('cup', (3, 0, 0)), seen('cup', (1, 2, 0))))
    memory.add(sighting(seen('cup', (1, 0, 0)), session='earlier'))
    found, _ = memory.recall('cup', now_ns=S, view=sighting(view=view(2.0)))
    assert [t.position for t in found] == [(1, 0, 0)]
    found, _ = memory.recall('cup', now_ns=S, view=sighting(view=view(4.0)),
                             near=('odom', (3, 0, 0), 1.0))
    assert [t.position for t in found] == [(3, 0, 0)]
    for other in (sighting(), sighting(view=view(), frame_id='map'),
                  sighting(view=view(), session='earlier')):
        assert not memory.recall('cup', now_ns=S, view=other)[0]


def test_what_was_seen_lately_is_found(memory: Memory) -> None:
    for stamp_s in (10, 20, 30):
        memory.add(sighting(seen('cup', (stamp_s, 0, 0)), stamp_s=stamp_s))
        memory.add(search('cup', stamp_s=stamp_s, view=view(position=(0, 9, 0))))
    found, searches = memory.recall('cup', now_ns=25 * S, max_age_s=5.0)
    assert [t.stamp_ns // S for t in found] == [30, 20]
    assert [s.stamp_ns // S for s in searches] == [30, 20]


# -- limits


def test_the_oldest_go_first(memory: Memory) -> None:
    memory = in_ram(max_things=3)
    for stamp_s in (5, 2, 4, 3, 1):
        memory.add(sighting(seen('cup', (stamp_s, 0, 0)), stamp_s=stamp_s))
        memory.add(search('box', stamp_s=stamp_s))
    assert [t.stamp_ns // S for t in memory.things()] == [5, 4, 3]
    assert [t.stamp_ns // S for t in memory.searches()] == [5, 4, 3]


def test_what_is_too_old_goes() -> None:
    memory = in_ram(max_age_s=DAY_S)
    memory.add(sighting(seen('cup', (1, 0, 0)), stamp_s=10))
    memory.add(search('box', stamp_s=10))
    memory.add(sighting(seen('cup', (2, 0, 0)), stamp_s=10 + DAY_S))
    assert len(memory.things()) == 2
    memory.add(sighting(seen('cup', (3, 0, 0)), stamp_s=11 + DAY_S))
    assert [t.position[0] for t in memory.things()] == [3, 2]
    assert not memory.searches()


def test_where_the_clock_fell_back_what_was_before_stays_until_there_is_too_much() -> None:
    memory = in_ram(max_things=3, max_age_s=DAY_S)
    for stamp_s in (9 * DAY_S, 9 * DAY_S + 1, 1, 2):
        memory.add(sighting(seen('cup', (stamp_s, 0, 0)), stamp_s=stamp_s))
    assert [t.stamp_ns // S for t in memory.things()] == [9 * DAY_S + 1, 2, 1]


def test_what_is_not_finite_is_refused(memory: Memory) -> None:
    for wrong in (sighting(seen(at=(math.nan, 0, 0))), sighting(seen(size=(math.inf, 0, 0))),
                  sighting(seen(covariance=(math.nan,) * 9)),
                  search(view=view(position=(0, math.nan, 0)))):
        with pytest.raises(InvalidRequestError, match='not finite'):
            memory.add(wrong)
    assert not memory.things()
    assert not memory.searches()


# -- forgetting


def test_forgetting(memory: Memory) -> None:
    memory.add(sighting(seen('red cup'), seen('blue cup', (2, 0, 0)), seen('box', (3, 0, 0))))
    memory.add(search('Where is the cup?', view=None))
    memory.add(search('box', view=None))
    red = next(thing for thing in memory.things() if thing.name == 'red cup')
    ids = [item.id for item in (*memory.things(), *memory.searches())]
    assert len({*ids}) == 5
    assert memory.forget([red.id, 10**6, 2**64 - 1]) == 1
    assert names(memory) == ['blue cup', 'box']
    assert memory.forget(what='the cups') == 2
    assert names(memory) == ['box']
    assert [found.what for found in memory.searches()] == ['box']
    assert memory.forget(what='cup') == 0
    memory.add(sighting(seen('red cup')))
    assert {thing.id for thing in memory.things()}.isdisjoint({red.id})
    assert memory.forget(everything=True) == 3
    assert not memory.things()
    assert not memory.searches()
    assert not memory.recall(now_ns=S, near=('odom', (0, 0, 0), 99.0))[0]


@pytest.mark.parametrize(('fields', 'remedy'), [
    ({}, 'exactly one'),
    ({'ids': [1], 'what': 'cup'}, 'exactly one'),
    ({'what': 'cup', 'everything': True}, 'exactly one'),
    ({'what': 'everything'}, 'or forget everything'),
    ({'what': 'Where is it?'}, 'or forget everything'),
])
def test_forgetting_by_mistake_is_refused(
    memory: Memory, fields: dict[str, Any], remedy: str
) -> None:
    memory.add(sighting(seen()))
    with pytest.raises(InvalidRequestError, match=remedy):
        memory.forget(**fields)
    assert names(memory) == ['red cup']
