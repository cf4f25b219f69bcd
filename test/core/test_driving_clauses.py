"""Behaviours and target speeds: what is said to be done is read, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimo_embodied_ros.core.answers import Behavior, DrivingDecision
from mimo_embodied_ros.core.driving_clauses import read_behavior, read_speed
from mimo_embodied_ros.core.driving_readers import read_decision


@pytest.mark.parametrize(
    ('words', 'behavior'),
    [
        ('Stop at the red light', Behavior.STOP),
        ('come to a complete stop', Behavior.STOP),
        ('The car remains stopped', Behavior.STOP),
        ('The vehicle is stopped at a red light', Behavior.STOP),
        ('The ego vehicle should stop', Behavior.STOP),
        ('The next action is to stop', Behavior.STOP),
        ('stopped', Behavior.STOP),
        ('wait for the pedestrian', Behavior.STOP),
        ('stop for the pedestrians and cyclists', Behavior.STOP),
        ('stop and wait behind the stopped bus', Behavior.STOP),
        ('slow down and stop', Behavior.STOP),
        ('slow down, then stop at the line', Behavior.STOP),
        ('brake gently', Behavior.SLOW_DOWN),
        ('decelerate', Behavior.SLOW_DOWN),
        ('decelerate at 2 m/s^2', Behavior.SLOW_DOWN),
        ('reduce your speed', Behavior.SLOW_DOWN),
        ('yield to the bus', Behavior.SLOW_DOWN),
        ('slow down near the stop sign', Behavior.SLOW_DOWN),
        ('slow down and keep a safe distance', Behavior.SLOW_DOWN),
        ('slow down and prepare to stop', Behavior.SLOW_DOWN),
        ('wait for the light to turn green', Behavior.STOP),
        ('In this scene, the car should slow down', Behavior.SLOW_DOWN),
        ('move to the left lane', Behavior.SHIFT_LEFT),
        ('the car pulls over to the right', Behavior.SHIFT_RIGHT),
        ('steer slightly left', Behavior.SHIFT_LEFT),
        ('make a right turn', Behavior.TURN_RIGHT),
        ('turn left slowly', Behavior.TURN_LEFT),
        ('continue straight', Behavior.NONE),
        ('The car is driving forward', Behavior.NONE),
        ('keep your lane', Behavior.NONE),
        ('maintain speed and stay in the right lane', Behavior.NONE),
        ('\uff53\uff54\uff4f\uff50', Behavior.STOP),  # full-width letters
    ],
)
def test_behavior_that_is_said_to_be_done(words: str, behavior: Behavior) -> None:
    assert read_behavior(words) is behavior


@pytest.mark.parametrize(
    'words',
    [
        # negated
        "don't stop", 'do not stop', 'there is no need to slow down', 'never stop',
        'avoid stopping', 'instead of stopping, continue', 'continue without stopping',
        'rather than stop, continue', 'stop is not necessary', 'refrain from stopping',
        'the car is no longer stopped',
        # conditional, possible or later
        'be ready to brake', 'stop if needed', 'if the light turns red, stop', 'unless clear, stop',
        'stop only when told', 'slow down as needed', 'at a red light, stop', 'stop at red lights',
        'the car may stop', 'the car would stop', 'almost stop', 'stop later', 'stop?',
        # of somebody else, or past
        'the car ahead is stopping', 'the car ahead stops', 'the car stopping ahead',
        'the truck stopped', 'the car stopped', 'it stops', 'pedestrians are waiting',
        'the light says stop', 'after stopping, continue', 'other drivers should stop',
        # nouns
        'stop sign', 'a stopped bus', 'bus stop ahead', 'non-stop', 'brake lights',
        'turn signal on', 'turn left lane', 'slow traffic', 'a red light',
        # several, or another action beside it
        'stop or continue', 'slow down / stop', 'stop/continue', 'continue, then stop',
        'stop, go on', 'stop and continue', 'slow down; at the junction, after the bridge, stop',
        'turn left and turn right', 'turn left and right', 'move forward and turn left',
        'turn left at the junction and right at the bridge', 'slow down, stop',
        'stop and accelerate', 'continue to the left', 'turn left to the right',
        'stop turning left', 'pull over', 'turn',
        # without a constant, or without a behaviour
        'accelerate', 'drive at 36 km/h', 'keep the speed limit of 50 km/h', '~~stop~~', '',
    ],
)  # fmt: skip
def test_behavior_that_is_not_said_to_be_done(words: str) -> None:
    assert read_behavior(words) is Behavior.UNKNOWN


@pytest.mark.parametrize(
    ('words', 'kilometres_an_hour'),
    [
        ('drive at 36 km/h', 36),
        ('5 m/s', 18),
        ('10 mph', 16.09344),
        ('30km/h', 30),
        ('about 30 km/hr', 30),
        ('\uff13\uff10 km/h', 30),
        ('30 kilometers per hour', 30),
        ('8.5 metres per second', 30.6),
        ('30 \u516c\u91cc/\u5c0f\u65f6', 30),
        ('reduce speed from 50 km/h to 36 km/h', 36),
        ('slow down to 30 km/h near the school', 30),
        ('the target speed is 30 km/h', 30),
        ('keep 30 km/h', 30),
        ('maintain a speed of 50 km/h and keep a safe distance', 50),
        ('the ego vehicle should accelerate to 50 km/h', 50),
        ('turn left at 20 km/h', 20),
        ('0 km/h', 0),
    ],
)
def test_target_speed(words: str, kilometres_an_hour: float) -> None:
    assert read_speed(words) == pytest.approx(kilometres_an_hour / 3.6)


@pytest.mark.parametrize(
    'words',
    [
        # another quantity
        'decelerate at 2 m/s^2', 'decelerate at 2 m/s\u00b2', 'brake with 2 m/s/s', '2 m/s2',
        '5 km/h faster', 'drive 5 km/h faster', 'slow down by 10 km/h', '+5 km/h', '30 km', 'fast',
        # a range or a bound
        '20\u201330 km/h', '20-30 km/h', 'drive at 20 to 30 km/h', 'between 20 and 30 km/h',
        'from 50 km/h to 36 km/h', 'below 30 km/h', 'at most 30 km/h', 'drive at up to 30 km/h',
        'slow down to under 30 km/h', '<30 km/h', 'above 30 km/h', 'speed up to 50 km/h',
        # another number than the digits before the unit
        '1,5 m/s', '-5 m/s', '\u22125 m/s', '1,000 km/h', '13.5.2 km/h', '030 km/h', '1e2 km/h',
        '\u00bd m/s', '500 km/h', '101 m/s',
        # the speed of somebody else, or one that is no target
        'the truck drives at 80 km/h', 'the speed limit is 50 km/h', 'currently at 50 km/h',
        'the car is driving at 30 km/h', 'driving at 30 km/h', 'we drive at 30 km/h',
        'slow down from 50 km/h', 'maintain your current speed of 50 km/h', 'stop at 30 km/h',
        # several, negated or conditional
        '30 km/h or 40 km/h', '30 km/h (20 mph)', 'slow down to 30 km/h, then drive at 40 km/h',
        'not 30 km/h', 'do not drive at 30 km/h', 'slow down to 30 km/h if it rains',
    ],
)  # fmt: skip
def test_speed_that_is_no_target(words: str) -> None:
    assert read_speed(words) is None


def read(text: str) -> DrivingDecision:
    decision = read_decision(text)
    assert decision is not None
    return decision


@pytest.mark.parametrize(
    'text',
    [
        'Stop. Continue.', 'Stop.\nContinue.', 'Slow down. Stop.', '- stop\n- turn left',
        'Decision: stop\nDecision: continue', 'Continue.\nDecision: stop',
        'Decision: stop\nAlternative: continue', 'Decision: stop\nReason: if the light is red',
        'Decision: stop\nSpeed: 30 km/h', 'stop because the light is red, but continue',
        'stop because the light is red unless it turns green', 'Stop. That would be wrong.',
        'stop, justification: the light is red. continue, justification: it is green',
        'Stop because the light is red. Do not stop.', 'Stop? Continue.', 'Stop! No, continue.',
        'The car turns left while it stops. Slow down.', 'Stop. Only if the light is red.',
        'slow down to 30 km/h. Drive at 40 km/h.', 'Speed: 30 km/h\nSpeed: 40 km/h',
        'Decision: slow down to 30 km/h because it rains, so drive at 20 km/h',
        'drive at 30 km/h. The target speed is 40 km/h.',
    ],
)  # fmt: skip
def test_decisions_that_contradict_themselves_keep_only_their_words(text: str) -> None:
    decision = read(text)
    assert decision.decision
    assert decision.behavior is Behavior.UNKNOWN
    assert decision.target_speed is None


def test_a_tag_is_an_object() -> None:
    tag = '<c1,CAM_FRONT,800.0,450.5>'
    assert read(f'Stop for {tag}').behavior is Behavior.STOP
    decision = read(f'Slow down because the car {tag} stops')
    assert (decision.behavior, decision.rationale) == (Behavior.SLOW_DOWN, f'the car {tag} stops')


# --- properties: forms of decisions, joined and damaged -----------------------------------------

_VERBS = {
    Behavior.STOP: [
        ('stop', 'stopping'), ('come to a stop', 'coming to a stop'), ('wait', 'waiting'),
        ('slow down and stop', 'slowing down and stopping'), ('halt', 'halting'),
    ],
    Behavior.SLOW_DOWN: [
        ('slow down', 'slowing down'), ('brake', 'braking'), ('decelerate', 'decelerating'),
        ('reduce the speed', 'reducing its speed'), ('drive slowly', 'driving slowly'),
    ],
    Behavior.NONE: [
        ('continue straight', 'continuing straight'), ('keep going', 'keeping going'),
        ('maintain the current speed', 'maintaining its speed'), ('go straight', 'going straight'),
    ],
    Behavior.TURN_LEFT: [('turn left', 'turning left'), ('make a left turn', 'making a left turn')],
    Behavior.TURN_RIGHT: [('turn right', 'turning right')],
    Behavior.SHIFT_LEFT: [
        ('change lanes to the left', 'changing lanes to the left'), ('steer left', 'steering left'),
    ],
    Behavior.SHIFT_RIGHT: [('merge into the right lane', 'merging into the right lane')],
}  # fmt: skip
_behaviors = st.sampled_from(list(_VERBS))
_places = st.sampled_from(['', ' ahead of the crosswalk', ' near the school', ' behind the bus'])
_reasons = st.sampled_from([
    '', ', justification: the light changes.', ' because pedestrians may cross the road',
    ' due to heavy traffic', ', the road is wet', ' since the car ahead is stopping', '.',
])  # fmt: skip
_frames = st.sampled_from([
    '{}', 'Please {}', 'The ego vehicle should {}', 'You should now {}', 'The next action is to {}',
    'In this scene, the car must {}', 'Decision: {}', '**Decision:** {}', '- {}',
    'The road is busy. The car should {}', 'Scene: a busy road\nDecision: {}\nHazards: stop signs',
])  # fmt: skip


@st.composite
def decisions(draw: st.DrawFn) -> tuple[Behavior, str]:
    """Draw a behaviour and a decision that says it in one of the known forms."""
    behavior = draw(_behaviors)
    imperative, gerund = draw(st.sampled_from(_VERBS[behavior]))
    words = draw(_frames.map(lambda frame: frame.format(imperative))) if draw(
        st.booleans()) else f'The car is {gerund}'
    if '\n' in words:
        return behavior, words
    return behavior, words + draw(_places) + draw(_reasons)


@settings(max_examples=200)
@given(decisions())
def test_known_forms_are_read(decision: tuple[Behavior, str]) -> None:
    behavior, text = decision
    assert read(text).behavior is behavior, text


@settings(max_examples=200)
@given(
    decisions(), decisions(),
    st.sampled_from([' or ', '. ', ' / ', '\n', ', or ', '; ', '. But ', '? ', ' and ', ', then ',
                     ' - ', ' instead of ', ', no, ', '. Otherwise, ', '. Or: ', ' (or) ']),
)  # fmt: skip
def test_two_joined_decisions_are_never_one_of_them(
    first: tuple[Behavior, str], second: tuple[Behavior, str], join: str
) -> None:
    if first[0] is second[0] or {first[0], second[0]} == {Behavior.SLOW_DOWN, Behavior.STOP}:
        return
    text = first[1].rstrip('.') + join + second[1]
    assert read(text).behavior is Behavior.UNKNOWN, text


@settings(max_examples=200)
@given(
    _behaviors.flatmap(lambda b: st.sampled_from(_VERBS[b])), _places,
    st.sampled_from([
        'Do not {}', "Don't {}", 'Never {}', 'There is no need to {}', 'The car should not {}',
        'Be careful not to {}', '{} if needed', '{} unless the road is clear', 'If it is red, {}',
        '{} only if the light is red', 'When the light turns red, {}', '{} when necessary',
        'The truck should {}', 'Other drivers should {}', 'The sign says {}', '{}?', 'Perhaps {}',
        'The car could {}', 'It would be wrong to {}', '{} is not necessary',
        'The driver wants to {}', 'Be prepared to {}', 'Either {}', '{} or not', '{}, maybe',
        'Rather than {}, do nothing',
    ]),
)  # fmt: skip
def test_what_is_negated_conditional_or_of_others_is_not_read(
    verb: tuple[str, str], place: str, frame: str
) -> None:
    text = frame.format(verb[0] + place)
    assert read(text).behavior is Behavior.UNKNOWN, text


_speeds = st.integers(1, 300).map(lambda n: n / 2)
_TARGETS = [
    'slow down to {}', 'reduce the speed to {}', 'drive at {}', 'maintain a speed of {}', 'keep {}',
    'The ego vehicle should slow down to {}', 'Speed: {}', 'Target speed: {}', 'continue at {}',
    'accelerate to {}, the road is clear', 'slow down to {} because of the school',
    'Decision: slow down\nSpeed: {}', 'reduce speed from 160 km/h to {}',
]  # fmt: skip


@settings(max_examples=200)
@given(_speeds, st.sampled_from(_TARGETS), st.sampled_from([' km/h', 'km/h', ' kph', ' km/hr']))
def test_target_speeds_are_read(speed: float, target: str, unit: str) -> None:
    text = target.format(f'{speed:g}{unit}')
    assert read(text).target_speed == pytest.approx(speed / 3.6), text


@settings(max_examples=200)
@given(
    _speeds, st.sampled_from(_TARGETS), st.sampled_from(_TARGETS),
    st.sampled_from([
        ' or ', '. ', '\n', ', then ', ' / ', ' because ', '\nReason: ', ', no, ', '\nSpeed: ', ' ',
    ]),
)  # fmt: skip
def test_two_joined_speeds_are_no_target(speed: float, first: str, second: str, join: str) -> None:
    text = first.format(f'{speed:g} km/h') + join + second.format(f'{speed + 1:g} km/h')
    assert read(text).target_speed is None, text


@settings(max_examples=200)
@given(
    _speeds, st.sampled_from(_TARGETS),
    st.sampled_from([
        '-{} km/h', '\u2212{} km/h', '+{} km/h', '{}\u201370 km/h', '10-{} km/h', '{} km/h^2',
        '{} km/h/s', '{} km', '{}', '{} km/h faster', '{} km/h less', '1,{} km/h', '{},5 km/h',
        'below {} km/h', 'at most {} km/h', 'up to {} km/h', '{} km/h or 171 km/h', 'not {} km/h',
        '{} km/h (20 mph)', '{}0000 km/h', '{} km/h if it rains', 'half of {} km/h',
    ]),
)  # fmt: skip
def test_damaged_speeds_are_not_read(speed: float, target: str, damage: str) -> None:
    text = target.format(damage.format(f'{speed:g}'))
    assert read(text).target_speed is None, text


@settings(max_examples=200)
@given(st.text('stop continue, left right.:;if to the 30 km/h\n-', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    decision = read_decision(text)
    assert decision is None or decision != DrivingDecision()


@pytest.mark.parametrize(
    'part',
    ['stop, ', 'the left lane ', 'stop sign ', 'because ', 'as the ', ': ', 'Speed: 1 km/h\n',
     'slow down and ', 'at the ', 'now ', 'please ', 'in front of ', 'reduce the the ', '- stop\n'],
)  # fmt: skip
def test_time_is_linear(part: str) -> None:
    read_decision('stop at ' + part * 20_000)
