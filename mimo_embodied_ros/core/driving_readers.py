"""Readers of driving answers: decisions, references to objects by tags, trajectories."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .answers import (
    Behavior,
    DrivingDecision,
    Hazard,
    ObjectReference,
    Trajectory,
    TrajectoryPoint,
)
from .characters import strip_emphasis, to_ascii
from .driving_clauses import (
    LONGEST,
    STRAY,
    Clause,
    actions_in,
    behavior_of,
    plain,
    read_clauses,
    read_speed,
    speeds_in,
    target_speed_of,
)
from .driving_words import NAMED
from .place_readers import MAX_COORDINATE, read_entries
from .plan_readers import list_items

if TYPE_CHECKING:
    from collections.abc import Iterator

TAGGED_WIDTH, TAGGED_HEIGHT = 1600, 900  # of nuScenes' images; tags count their pixels
_FASTEST = 100.0  # metres a second; more is no path of a road vehicle, or one in pixels

_TAG = re.compile(
    r'<(c[1-9][0-9]{0,2}), ?(CAM_(?:FRONT|BACK)(?:_LEFT|_RIGHT)?)'
    r', ?(-?[0-9]+(?:\.[0-9]+)?), ?(-?[0-9]+(?:\.[0-9]+)?)>'
)
_METRES = r'([-+]?[0-9]+(?:\.[0-9]+)?)'
# One kind of comma a point: "(1,5, 2)" may have a decimal comma.
_PATH_POINT = re.compile(rf'\( ?{_METRES}(, ?){_METRES}(?:\2{_METRES})? ?\)')
_POINTS = r'\([-+0-9., ]+\)(?:, ?\([-+0-9., ]+\))*'
_PATH = re.compile(
    r"(?:(?:here(?: is|'s| are)|it is|this is) )?(?:(?:the|my|a) )?(?:(?:ego|vehicle) )?"
    r'(?:(?:planning|planned|predicted|driving|future) )*(?:(?:trajectory|path|waypoints)'
    r'(?: (?:of|for) the (?:ego )?(?:car|vehicle))?(?: is| are)? ?:? ?)?'
    rf'\[ ?PT ?, ?(?P<points>{_POINTS}) ?\]\.?',
    re.IGNORECASE,
)

# A text that begins so is JSON or a box, perhaps a damaged one, and never a sentence.
_BRACKET = re.compile(r'\s*(?:```\w*\s*)?(?:\\boxed)?[\[{]')
_NAMED_REASON = re.compile(r'\bjustification\b|\b(?:reason|rationale):', re.IGNORECASE)
# Where the action ends and its reason begins, in LingoQA's and BDD-X's sentences.
_REASON = re.compile(
    r'[,;.]?(?: and)?(?: the)? ?\b(?:justification(?: is(?: that)?|:)?|reason:|rationale:) '
    r'|[,;]? (?:because(?: of)?|since|due to|so that|in order to|given that'
    r'|as(?! a result\b)(?= (?:an?|the|there|its?|we|another|some|many|no|traffic|\w+s) )) ',
    re.IGNORECASE,
)
# "Stop as the traffic requires" says when to stop, and not why.
_MEASURE = re.compile(r'(?:requir|need|demand|dictat|permit|allow|necess)', re.IGNORECASE)
_REASON_FIRST = re.compile(
    r'(?:because(?: of)?|since|due to|as(?= (?:the|there|an?) )) (?P<reason>[^,]+), (?P<action>.+)'
    r'|(?P<remark>.+?),? (?:so|therefore|thus|hence),? (?P<result>.+)',
    re.IGNORECASE,
)
# A remark describes the scene, beside the decision or as its reason.
_REMARK = re.compile(rf"(?:there(?: is| are|'s) |(?:i|we) (?:can )?see |{NAMED})")
_DOUBT = re.compile(
    r'\b(?:if|unless|otherwise|alternatively|instead|except|whether|maybe|perhaps)\b|\?'
)
_REMARK_DOUBT = re.compile(
    r'\b(?:or|but|however|though|although|only|when(?:ever)?|until|rather|never|might|would|wrong'
    r'|incorrect|false|mistake|error|invalid|ignore|cancel|decisions?|actions?|answers?|options?'
    r'|alternatives?|says?|said|opposite|not)\b|n\'t\b|(?<!is )(?<!are )\bno\b|/(?![hs]\b)'
    r'|["\u201c\u201d~<>=\[\]{}()]'
)
_SENTENCE = re.compile(r'(?<=[.;!?]) +')
_LIST_MARK = re.compile(r'\A\s*(?:[-*+\u2022]|\(?[0-9]{1,3}[.):]|#+)\s+')
_COMMA_OR_COLON = re.compile(', |: ')
_HEADING = re.compile(
    r'[#>*\-\d.) ]{0,8}(?:traffic |potential |driving |recommended |target )?'
    r'(?:(?P<scene>scene(?: description)?|environment|observations?)'
    r'|(?P<hazards>hazards?|risks?|critical objects?)'
    r'|(?P<decision>decision|actions?|suggestions?|recommendations?|behaviou?r|man(?:o?e)uver)'
    r'|(?P<rationale>rationale|reasons?|reasoning|justification|explanation)'
    r'|(?P<speed>speed))\*{0,2}(?: ?:\*{0,2}(?P<text>.*)|)',
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Sentence:
    """What a sentence tells, and why; it is not understood if it has no clauses."""

    action: str
    reason: str = ''
    clauses: tuple[Clause, ...] = ()


@dataclass(frozen=True)
class _Advice:
    """What a section tells; ``behavior`` and ``speed`` only where all of it is understood."""

    words: str
    reason: str
    behavior: Behavior
    speed: float | None


def read_decision(words: str) -> DrivingDecision | None:
    """Read a decision from JSON, from labelled sections, from a list or from sentences.

    JSON boxes with captions (``drama``, either key of the paper's figures 33 and 34) are hazards.
    ``action, justification`` (``lingoqa``) and sentences with a reason (``bddx``) are split where
    the reason begins. Of suggestions as Markdown (``codalm``) the whole list is the decision.

    The decision's words are always given. A behaviour and a target speed are given only where all
    of the decision is understood (see ``driving_clauses``) and nothing else in the text tells the
    vehicle anything else.

    Returns:
        None if the answer has no words beside headings, or begins with a bracket and is no list of
        boxes.

    Raises:
        ParseError: a JSON box has no valid coordinates.

    """
    places = read_entries(words)
    if places is not None:
        hazards = tuple(Hazard(box.label, box) for box in places.boxes)
        return None if places.points else DrivingDecision(hazards=hazards)
    if _BRACKET.match(words) or not re.search(r'[^\W\d_]', words):
        return None
    sections = _sections(words)
    name = next((name for name in ('decision', 'speed') if sections.get(name)), '')
    advice = _read_advice(sections[name])
    behavior = advice.behavior
    speeds = {advice.speed, read_speed(sections.get('speed', ''))} - {None}
    if speeds != speeds_in(words):  # another speed beside the target, be it in the reason
        speeds = set()
    conflicts = {
        action
        for other, text in sections.items()
        if other != name
        for action in actions_in(text, described=other != 'scene')
    } - {behavior}
    conditional = _DOUBT.search(sections.get('rationale', '').lower())
    if conflicts or conditional or (behavior is Behavior.STOP and any(speeds)):
        behavior, speeds = Behavior.UNKNOWN, set()
    decision = DrivingDecision(
        decision=advice.words,
        behavior=behavior,
        rationale=_line(sections.get('rationale', '')) or advice.reason,
        hazards=tuple(Hazard(label) for label in _labels(sections.get('hazards', ''))),
        scene=_line(sections.get('scene', '')),
        target_speed=speeds.pop() if len(speeds) == 1 else None,
    )
    return decision if decision != DrivingDecision() else None


def read_tags(text: str) -> tuple[ObjectReference, ...]:
    """Read every ``<c1,CAM_BACK,1088.3,497.5>`` of nuScenes' six cameras; numbers may be negative.

    An object at two positions is not read.
    """
    tags: list[ObjectReference] = []
    for name, camera, *numbers in _TAG.findall(text):
        x, y = (float(number) for number in numbers)
        if max(abs(x), abs(y)) <= MAX_COORDINATE:
            inside = 0 <= x < TAGGED_WIDTH and 0 <= y < TAGGED_HEIGHT
            tags.append(ObjectReference(name, camera, x, y, inside))
    places = Counter(tag.id for tag in set(tags))
    return tuple(tag for tag in tags if places[tag.id] == 1)


def read_trajectory(text: str, step: float) -> Trajectory | None:
    """Read ``[PT, (x, y), ...]`` or ``[PT, (x, y, heading), ...]``, if it is all. Experimental.

    OmniDrive writes the first form, ReCogDrive the second, both after "Here is the planning
    trajectory"; MiMo-Embodied was published without a form of its own. The numbers are taken as
    metres and radians in ``base_link``.

    Args:
        text: the answer.
        step: seconds from the stamp to the first point, and from each to the next.

    Returns:
        None if the text is anything else, its points do not share one form, they are too far from
        each other for a road vehicle, or a heading is more than a full turn.

    """
    path = _PATH.fullmatch(_one_line(text))
    if path is None:
        return None
    points: list[TrajectoryPoint] = []
    last = (0.0, 0.0)
    for written in re.findall(r'\([^()]*\)', path['points']):
        match = _PATH_POINT.fullmatch(written)
        if match is None:
            return None
        x, y = float(match[1]), float(match[3])
        heading = None if match[4] is None else float(match[4])
        too_far = math.dist(last, (x, y)) > _FASTEST * step
        if too_far or (heading is not None and abs(heading) > math.tau):
            return None
        points.append(TrajectoryPoint(step * (len(points) + 1), x, y, heading))
        last = (x, y)
    if len({point.heading is None for point in points}) != 1:
        return None
    return Trajectory(tuple(points))


def has_trajectory(text: str) -> bool:
    """Tell whether a text is a closed list of points."""
    return _PATH.fullmatch(_one_line(text)) is not None


def _one_line(text: str) -> str:
    return ' '.join(strip_emphasis(to_ascii(text)).split()).strip('`')


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


def _read_advice(section: str) -> _Advice:
    """Read the section of the decision, sentence by sentence."""
    sentences = list(_sentences(section))
    decisive = [words for words in sentences if not _is_remark(words)] or sentences
    told = [_read_sentence(words) for words in decisive]
    items = [_line(item) for item in list_items(section)]
    words = told[0].action if len(told) == 1 else _line(section).strip(STRAY)
    reasons = [sentence.reason for sentence in told if sentence.reason]
    clauses = [clause for sentence in told for clause in sentence.clauses]
    behaviors = {
        behavior_of(sentence.clauses)
        for sentence in told
        if any(clause.behavior is not None for clause in sentence.clauses)
    }
    behavior, speed = Behavior.UNKNOWN, None
    if len(behaviors) == 1 and all(sentence.clauses for sentence in told):
        (behavior,) = behaviors
        speed = target_speed_of(clauses)
    others = {action for words in reasons for action in actions_in(words, described=True)}
    doubtful = any(_DOUBT.search(reason.lower()) for reason in reasons)
    reason = reasons[0] if len(reasons) == 1 else ''
    if doubtful or not others <= {behavior}:
        behavior, speed = Behavior.UNKNOWN, None
    if len(_NAMED_REASON.findall(section)) > 1:  # two decisions, of which the first is no more
        words, reason = _line(section).strip(STRAY), ''
    return _Advice('\n'.join(items) or words, reason, behavior, speed)


def _sentences(section: str) -> Iterator[str]:
    for line in section.splitlines():
        words = _line(_LIST_MARK.sub('', line, 1))
        reason = _NAMED_REASON.search(words)  # it may have several sentences
        before = words[: reason.start()].rstrip() if reason else words
        *others, last = _SENTENCE.split(before)
        yield from filter(None, [*others, last + words[len(before) :]])


def _read_sentence(words: str) -> _Sentence:
    """Split a sentence into what it tells and why, where it has a known form."""
    match = _REASON.search(words)
    if match and not _MEASURE.match(words.rsplit(maxsplit=1)[-1]):
        action = words[: match.start()].strip(STRAY)
        return _Sentence(action, words[match.end() :].strip(STRAY), read_clauses(action))
    if clauses := read_clauses(words):
        return _Sentence(words.strip(STRAY), '', clauses)
    # "stop, the light is red": LingoQA's form without "because"
    for mark in _COMMA_OR_COLON.finditer(words, 0, LONGEST):
        action, reason = words[: mark.start()], words[mark.end() :]
        if (clauses := read_clauses(action)) and _is_remark(reason):
            if mark.group() == ': ':
                return _Sentence(words.strip(STRAY), '', clauses)
            return _Sentence(action.strip(STRAY), reason.strip(STRAY), clauses)
    if match := _REASON_FIRST.fullmatch(words.strip(STRAY)):
        action = match['action'] or match['result']
        clauses = read_clauses(action)
        if clauses and (match['reason'] or _is_remark(match['remark'])):
            return _Sentence(action, match['reason'] or match['remark'], clauses)
    return _Sentence(words.strip(STRAY))


def _is_remark(words: str) -> bool:
    """Tell whether words describe the scene and what is in it, but not what the vehicle does."""
    line = plain(words)
    doubtful = _DOUBT.search(line) or _REMARK_DOUBT.search(line)
    return bool(_REMARK.match(line)) and not doubtful and not [*actions_in(line, described=True)]


def _labels(words: str) -> list[str]:
    """Return the items of a list, or the parts between commas."""
    items = list_items(words) or re.split(r'[,;\n]', words)
    labels = (_line(item).rstrip('.') for item in items)
    return [label for label in labels if label and label.lower() not in ('none', 'no', 'n/a')]


def _line(words: str) -> str:
    """Return Markdown text on one line, without its marks."""
    return ' '.join(strip_emphasis(re.sub('^#+ ', '', words)).split())
