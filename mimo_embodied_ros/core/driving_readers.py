"""Readers of driving answers: decisions, references to objects by tags, trajectories."""

from __future__ import annotations

import re

from .answers import (
    Behavior,
    DrivingDecision,
    Hazard,
    ObjectReference,
    Trajectory,
    TrajectoryPoint,
)
from .place_readers import MAX_COORDINATE, read_entries
from .plan_readers import list_items

TAGGED_WIDTH, TAGGED_HEIGHT = 1600, 900  # of nuScenes' images; tags count their pixels
_FARTHEST_METRES = 1e3

_TAG = re.compile(
    r'<([^,<>\s]{1,20}), ?([^,<>\s]{1,40}), ?(-?[0-9]+(?:\.[0-9]+)?), ?(-?[0-9]+(?:\.[0-9]+)?)>'
)
_PATH = re.compile(r'\[ ?PT ?,([^\[\]]*)\]')
_PATH_POINT = re.compile(r' ?\(([^()]*)\) ?(?:,|\Z)')
_METRES = re.compile(r'\s*([-+]?[0-9]+(?:\.[0-9]+)?)\s*')

# Where the action ends and its reason begins, in LingoQA's and BDD-X's sentences.
_REASON = re.compile(
    r'[,;.]? ?\bjustification:? |[,;]? (?:because(?: of)?|since|due to|so that|in order to'
    r'|given that|as(?! (?:well|soon|long|far|if|a result)\b)) ',
    re.IGNORECASE,
)
_STRAY = ' ,;."\u201c\u201d'
_SENTENCE = re.compile(r'(?<=[.!?]) +')
_HEADING = re.compile(
    r'[#>*\-\d.) ]{0,8}(?:traffic |potential |driving |recommended |target )?'
    r'(?:(?P<scene>scene(?: description)?|environment|observations?)'
    r'|(?P<hazards>hazards?|risks?|critical objects?)'
    r'|(?P<decision>decision|actions?|suggestions?|recommendations?|behaviou?r|man(?:o?e)uver)'
    r'|(?P<rationale>rationale|reasons?|reasoning|justification|explanation)'
    r'|(?P<speed>speed))\*{0,2}(?: ?:\*{0,2}(?P<text>.*)|)',
    re.IGNORECASE,
)
_SPEED = re.compile(
    r'(?<![\w.])([0-9]{1,3}(?:\.[0-9]{1,2})?) ?(km/h|kph|kmh|mph|m/s)\b', re.IGNORECASE
)
_METRES_A_SECOND = {'m/s': 1.0, 'mph': 0.44704}  # all others are kilometres an hour

_BEHAVIORS = {
    Behavior.STOP: (
        r'stop(?:s|ping)?\b(?! (?:signs?|lines?|lights?)\b)|halt(?:s|ing)?\b|stationary'
        r'|standing still|stopped(?=\W*\Z)|waits?\b|(?:is|are|keeps?) waiting'
        r'|(?:is|are|remains?|stays?|keeps?|fully|completely) stopped'
    ),
    Behavior.SLOW_DOWN: (
        r'slow(?:s|ed|ing|ly|er)?\b(?![ -](?:moving|vehicles?|traffic|lanes?|cars?))'
        r'|decelerat\w{1,5}|brak(?:e|es|ing)\b(?! lights?)|yield(?:s|ing)?'
        r"|(?:reduc|lower|decreas)(?:e|es|ing|s)? (?:(?:the|its|your|our|vehicle's|driving) )*speed"
    ),
    Behavior.NONE: (
        r'(?:keep|stay|remain)(?:s|ing)? (?:going|driving|moving|straight|(?:in )?(?:its|the|your'
        r'|this|our) (?:current |own )?(?:lane|speed|pace))|continu(?:e|es|ing)'
        r'|maintain(?:s|ing)? (?:(?:its|the|your|a|our|current|constant|steady|this|same|safe) )*'
        r'(?:speed|lane|course|pace)|go(?:es|ing)? (?:straight|ahead|forward|on\b)'
        r'|driv(?:e|es|ing) (?:straight|forwards?|ahead|normally|on\b|down|along)'
        r'|mov(?:e|es|ing) (?:straight|forwards?|ahead|along)|travel(?:s|ing)?'
        r'|head(?:s|ing)? (?:straight|forward)|proceed(?:s|ing)?'
    ),
}
_PATTERNS = {
    behavior: re.compile(rf'\b(?:{pattern})', re.IGNORECASE)
    for behavior, pattern in _BEHAVIORS.items()
}
_TURNS = re.compile(
    r'\b(?:(?P<turn>turn(?:s|ing)?(?: to the| sharp| sharply)? |(?:mak|tak)(?:e|es|ing) an? '
    r'(?:sharp )?)|(?:chang|switch|shift|mov|merg|swerv|steer|veer|nudg|pull)\w{0,3}\b'
    r'(?:(?!\bturn)[^.;,\n]){0,40}?\b)(?P<side>left|right)\b',
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"(?:n't|\b(?:not|never|no need to|without|avoid|prepared? to|ready to|unless|if))"
    r' (?:\w+ ){0,2}\Z',
    re.IGNORECASE,
)


def read_decision(words: str) -> DrivingDecision | None:
    """Read a decision from JSON, from labelled sections, from a list or from a sentence.

    JSON boxes with captions (``drama``, either key of the paper's figures 33 and 34) are hazards.
    ``action, justification`` (``lingoqa``) and sentences with a reason (``bddx``) are split where
    the reason begins. Of suggestions as Markdown (``codalm``) the whole list is the decision, and
    its first item that names a behaviour gives the behaviour.

    Returns:
        None if the answer has no words.

    Raises:
        ParseError: a JSON box has no valid coordinates.

    """
    places = read_entries(words)
    if places is not None:
        hazards = tuple(Hazard(box.label, box) for box in places.boxes)
        return None if places.points else DrivingDecision(hazards=hazards)
    if not re.search(r'[^\W\d_]', words):
        return None
    sections = _sections(words)
    section = sections.get('decision') or sections.get('speed') or sections['']
    decision, rationale = _action_and_reason(section)
    return DrivingDecision(
        decision=decision,
        behavior=read_behavior(decision),
        rationale=_line(sections.get('rationale', '')) or rationale,
        hazards=tuple(Hazard(label) for label in _labels(sections.get('hazards', ''))),
        scene=_line(sections.get('scene', '')),
        target_speed=read_speed(sections.get('speed', '')) or read_speed(decision),
    )


def read_behavior(words: str) -> Behavior:
    """Return the first behaviour that the words name; "slow down and stop" is a stop.

    Negated and conditional behaviours ("do not stop", "be prepared to stop") do not count.
    """
    positions: dict[Behavior, int] = {}
    for behavior, pattern in _PATTERNS.items():
        for match in pattern.finditer(words):
            if _counts(words, match):
                positions[behavior] = match.start()
                break
    for match in _TURNS.finditer(words):
        if _counts(words, match):
            name = ('TURN_' if match.group('turn') else 'SHIFT_') + match.group('side').upper()
            positions.setdefault(Behavior[name], match.start())
    if len(positions) > 1:
        positions.pop(Behavior.NONE, None)
    first = min(positions, key=lambda behavior: positions[behavior], default=Behavior.UNKNOWN)
    stop = positions.get(Behavior.STOP)
    if first is Behavior.SLOW_DOWN and stop is not None and stop - positions[first] < 30:
        return Behavior.STOP
    return first


def read_speed(words: str) -> float | None:
    """Read a speed in metres a second: the only one in the words, or the one after "to" or "at".

    Speed limits do not count.
    """
    speeds = list(_SPEED.finditer(words))
    if len(speeds) > 1:
        speeds = [s for s in speeds if words[: s.start()].endswith(('to ', 'at '))]
    if len(speeds) != 1 or re.search(r'\blimit\W', words[: speeds[0].start()][-20:]):
        return None
    value, unit = speeds[0].groups()
    return float(value) * _METRES_A_SECOND.get(unit.lower(), 1 / 3.6)


def read_tags(text: str) -> tuple[ObjectReference, ...]:
    """Read every ``<c1,CAM_BACK,1088.3,497.5>`` by drivelm's rule; numbers may be negative."""
    tags = []
    for name, camera, *numbers in _TAG.findall(text):
        x, y = (float(number) for number in numbers)
        if max(abs(x), abs(y)) <= MAX_COORDINATE:
            inside = 0 <= x < TAGGED_WIDTH and 0 <= y < TAGGED_HEIGHT
            tags.append(ObjectReference(name, camera, x, y, inside))
    return tuple(tags)


def read_trajectory(text: str, step: float) -> Trajectory | None:
    """Read the last ``[PT, (x, y), ...]`` or ``[PT, (x, y, heading), ...]``. Experimental.

    OmniDrive writes the first form, ReCogDrive the second; MiMo-Embodied was published without a
    form of its own. The numbers are taken as metres and radians in ``base_link``.

    Args:
        text: the answer.
        step: seconds from the stamp to the first point, and from each to the next.

    Returns:
        None if there is no such list, it is not closed, or its points do not share one form.

    """
    lists = _PATH.findall(text)
    if not lists:
        return None
    inside = ' '.join(lists[-1].split())
    points, end = [], 0
    while match := _PATH_POINT.match(inside, end):
        values = [_METRES.fullmatch(number) for number in match.group(1).split(',')]
        numbers = [float(value.group(1)) for value in values if value]
        if len(numbers) != len(values) or any(abs(n) > _FARTHEST_METRES for n in numbers):
            return None
        points.append(numbers)
        end = match.end()
    if end != len(inside) or {len(point) for point in points} not in ({2}, {3}):
        return None
    return Trajectory(
        tuple(TrajectoryPoint(step * n, *point) for n, point in enumerate(points, 1))
    )


def has_trajectory(text: str) -> bool:
    """Tell whether a text holds a closed list of points."""
    return _PATH.search(text) is not None


def _counts(words: str, match: re.Match[str]) -> bool:
    return _NEGATED.search(words[max(0, match.start() - 40) : match.start()]) is None


def _sections(words: str) -> dict[str, str]:
    """Split at headings such as ``**Decision:** stop``; '' holds the text before the first."""
    current: list[str] = []
    sections = {'': current}
    for raw in words.splitlines():
        line = ' '.join(raw.split())
        if heading := _HEADING.fullmatch(line):
            groups = heading.groupdict()
            line = groups.pop('text') or ''
            current = sections.setdefault(next(filter(groups.get, groups)), [])
        current.append(line)
    return {name: '\n'.join(lines).strip() for name, lines in sections.items()}


def _action_and_reason(words: str) -> tuple[str, str]:
    """Split the action from its reason."""
    items = [_line(item) for item in list_items(words)]
    if items:
        return '\n'.join(items), _split(min(items, key=_idle))[1]
    bare = _line(words)
    sentences = [bare] if 'justification' in bare.lower() else _SENTENCE.split(bare)
    return _split(min(sentences, key=lambda sentence: _idle(_split(sentence)[0])))


def _idle(words: str) -> int:
    """Rank sentences: those with a change come first, those without any behaviour last."""
    return {Behavior.UNKNOWN: 2, Behavior.NONE: 1}.get(read_behavior(words), 0)


def _split(sentence: str) -> tuple[str, str]:
    match = _REASON.search(sentence)
    if match is None:  # "stop, the light is red", LingoQA's form without "because"
        action, comma, reason = sentence.partition(', ')
        has_action = comma and read_behavior(action) is not Behavior.UNKNOWN
        if not has_action or read_behavior(reason) is not Behavior.UNKNOWN:
            action, reason = sentence, ''
    else:
        action, reason = sentence[: match.start()], sentence[match.end() :]
    return action.strip(_STRAY), reason.strip(_STRAY)


def _labels(words: str) -> list[str]:
    """Return the items of a list, or the parts between commas."""
    items = list_items(words) or re.split(r'[,;\n]', words)
    labels = (_line(item).rstrip('.') for item in items)
    return [label for label in labels if label and label.lower() not in ('none', 'no', 'n/a')]


def _line(words: str) -> str:
    """Return Markdown text on one line, without its marks."""
    return ' '.join(re.sub(r'\*\*|__|`|^#+ ', '', words).split())
