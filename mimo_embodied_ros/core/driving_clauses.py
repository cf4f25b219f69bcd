"""What the clauses of a driving decision tell the vehicle to do: behaviours and target speeds.

A sentence is read if a grammar derives all of it, word by word: clauses of which each has a known
verb, the ego vehicle or nobody as its subject, and a tail of known words. Everything else is not
read: negations, conditions, alternatives, the past, and what other road users do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from .answers import Behavior
from .characters import strip_emphasis, to_ascii
from .driving_words import END, MANNER, TAIL, TAIL_START, WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FASTEST = 100.0  # metres a second; more is no speed of a road vehicle
LONGEST = 500  # characters of a sentence that is read

_METRES_A_SECOND = {
    r'm/s|met(?:er|re)s? per second|\u7c73/\u79d2': 1.0,
    r'mph|miles? per hour': 0.44704,
    r'km/hr?|kmh|kph|kilomet(?:er|re)s? per hour': 1 / 3.6,
    '\u516c\u91cc/\u5c0f\u65f6|\u5343\u7c73/\u5c0f\u65f6': 1 / 3.6,
}
_NUMBER = r'(?:0|[1-9][0-9]{0,2})(?:\.[0-9]{1,2})?'
_SPEED = rf'{_NUMBER} ?(?:{"|".join(_METRES_A_SECOND)}){END}'
_ANY_SPEED = re.compile(rf'(?<!from )(?<![0-9.]){_NUMBER} ?(?:{"|".join(_METRES_A_SECOND)})')
_ABOUT = r'(?:(?:about|around|approximately) )?'
_OTHER_SPEED = (  # accelerations, differences and bounds are no targets
    rf'(?:(?:at|with) {_NUMBER} ?m/s(?:\^?2|\u00b2|/s){END}|by {_SPEED}'
    rf'|(?:to )?(?:below|under|less than|at most|no more than) {_SPEED})'
)


def _speed_phrase(name: str, prepositions: str) -> str:
    return (
        rf'(?: (?:{_OTHER_SPEED}|(?P<{name}>{prepositions}) ?{_ABOUT}(?P<{name}_speed>{_SPEED})))?'
    )


_BEFORE = rf'(?:from {_SPEED} )?to|at(?: an? (?:constant |steady )?speed of)?|of'
_EGO = (
    r'(?:(?P<you>we|you|i)|(?:the|our|your|my) (?:(?:ego|self-driving|autonomous) )?(?:car|vehicle)'
    r'|ego(?: car| vehicle)?)'
)
_START = (
    rf'(?:(?:please|now|then|next|so|therefore|thus|hence|also),? '
    rf'|(?:in|at|on|after|before|near)(?= (?:the|this) ){WORDS}, )*'
    r"(?:(?:(?:the|its|my|your) )?(?:(?:ego )?(?:vehicle|car)'s )?"
    r'(?:(?:next|current|ongoing|best|right|correct|recommended) )?'
    r'(?:action|decision|man(?:o?e)uver|behaviou?r)'
    r'(?: (?:of|for) the (?:ego )?(?:car|vehicle))? (?:is|should be|will be)(?: to|:)? )?'
    rf'(?P<subject>{_EGO} (?:(?P<told>(?:should|must|shall|will|needs? to|has to|have to)(?: be)? )'
    rf'|(?P<is>is |are |am )|))?(?:{MANNER} )*'
)

_SIDE = r'(?:left|right)'
_TO_SIDE = (
    rf'(?:to|into|onto|towards?) (?:(?:the|its|your) )?(?:(?:next|adjacent|far) )?{_SIDE}'
    r'(?:[ -]hand)?(?: (?:lane|side))?(?: of the (?:lane|road|street))?'
)
_SPEED_WORDS = r"(?:(?:the|its|your|our|a|vehicle's|car's|driving|current|same|constant|steady) )*"
_VERBS = {
    'STOP': (
        r'(?:com(?:e|es|ing)|slow(?:s|ing)?(?: down)?|brak(?:e|es|ing)) to an? (?:(?:complete|full'
        r'|safe|smooth|gradual|controlled) )?(?:stop|halt|standstill)'
        r'|mak(?:e|es|ing) an? (?:(?:complete|full|safe|emergency) )?stop'
        r'|stop(?:s|ping)?(?: the (?:car|vehicle))?|halt(?:s|ing)?|wait(?:s|ing)?'
        r'|(?:remain|stay|keep)(?:s|ing)? (?:(?:fully|completely) )?(?:stopped|stationary|still)'
        r'|keep(?:s|ing)? waiting|stand(?:s|ing)? still|(?P<state>stopped|stationary)'
    ),
    'SLOW_DOWN': (
        r'slow(?:s|ing)?(?: down)|slow(?:s|ing)|slow(?= for )|decelerat(?:e|es|ing)'
        r'|brak(?:e|es|ing)|yield(?:s|ing)?|giv(?:e|es|ing) way'
        rf'|(?:reduc(?:e|es|ing)|decreas(?:e|es|ing)|lower(?:s|ing)?) {_SPEED_WORDS}speed'
    ),
    'NONE': (
        r'(?:keep|stay|remain)(?:s|ing)?(?: (?:going|driving|moving)(?: straight)?| straight'
        r'| (?:in )?(?:(?:its|the|your|this|our|current|own|same|left|right) )*lane'
        rf'| (?:at )?{_SPEED_WORDS}(?:speed|pace))'
        r'|continu(?:e|es|ing)(?: (?:going|driving|moving|to (?:drive|move|go)|on))?'
        rf'|maintain(?:s|ing)? (?:{_SPEED_WORDS}(?:speed|pace)|(?:the|its|your|our|current) '
        r'(?:current )?(?:lane|course))'
        r'|go(?:es|ing)? (?:straight|ahead|forward|on)|proceed(?:s|ing)?'
        r'|(?:driv(?:e|es|ing)|mov(?:e|es|ing)|travel(?:s|l?ing)?|head(?:s|ing)?)'
        r'(?: (?:straight|forwards?|ahead|normally)|(?= (?:along|down|through) ))'
        r'|driv(?:e|es|ing)(?= on )'
    ),
    'TURN': (
        rf'turn(?:s|ing)?(?: (?:sharp|{MANNER}))?(?: to the)? {_SIDE}'
        rf'|(?:mak|tak)(?:e|es|ing) (?:an?|the (?:next|first|second))(?: (?:sharp|slight))? {_SIDE}'
        r'(?: turn)?'
    ),
    'SHIFT': (
        r'(?:(?:chang(?:e|es|ing)|switch(?:es|ing)?|shift(?:s|ing)?)(?: (?:the|its|your))? lanes?'
        r'|mak(?:e|es|ing) a lane change'
        rf'|(?P<aside>(?:mov|merg|swerv|nudg|chang)(?:e|es|ing)|(?:shift|steer|veer|pull)(?:s|ing)?'
        rf'|switch(?:es|ing)?)(?: (?:over|out|a bit|{MANNER}))?) {_TO_SIDE}'
        r'|(?:(?:mov|merg|swerv|nudg)(?:e|es|ing)|(?:shift|steer|veer|pull)(?:s|ing)?)'
        rf'(?: (?:over|{MANNER}))? {_SIDE}|mak(?:e|es|ing) a {_SIDE} lane change'
    ),
    # Known, and none of the message's constants.
    'FASTER': (
        r'accelerat(?:e|es|ing)|speed(?:s|ing)? up(?! to )'
        r'|(?:increas(?:e|es|ing)|rais(?:e|es|ing)|set(?:s|ting)?|adjust(?:s|ing)?)'
        rf' {_SPEED_WORDS}speed'
    ),
    'MOVE': r'driv(?:e|es|ing)|mov(?:e|es|ing)|travel(?:s|l?ing)?|go(?:es|ing)?',
    'KEEP': r'keep|maintain|hold|(?:the )?target speed(?::| is| should be)?',
    # What goes with every behaviour and is none.
    'WITH': (
        r'(?:be (?:prepared|ready)|prepare) to (?:stop|brake|slow down|yield)'
        r'(?!.*(?:,| and | then ))'
        r'|(?:keep|maintain)(?:s|ing)? (?:(?:the|its|your|a|safe|following|sufficient|large) )*'
        r'distance(?: of [0-9]+ ?(?:m|met(?:er|re)s)| of (?:a|one|two|three) (?:cars?|vehicles?))?'
        r'|(?:stay|remain|be)s? (?:alert|cautious|careful|vigilant|attentive)'
        r'|exercis(?:e|es) caution|(?:watch|look)(?: out)?(?= for )|pay attention(?= to )'
    ),
}
_VERB = '(?:' + '|'.join(f'(?P<{name}>{verb})' for name, verb in _VERBS.items()) + ')'
_CLAUSE = re.compile(
    rf'{_START}{_VERB}{END}{_speed_phrase("first", _BEFORE + "|")}{TAIL}'
    rf'{_speed_phrase("last", _BEFORE)}(?=,| and | then |\Z)'
)
_JOIN = re.compile(r',? and then |,? and |,? then |, ')
_PIECE = re.compile(
    r" ?(?:[^\w\s'-]|-(?!\w)|(?<!\w)-|\b(?:and|or|but|so|then|than|while|that|however|actually"
    r'|instead|rather|no|in order to|vs|when|until|as|since|because|whereas)\b) ?'
)
_ANY_EGO = _EGO.replace('?P<you>', '?:')
_NEGATION = (
    rf"(?:do not|don't|never|not|avoid|refrain from|no need to|{_ANY_EGO} (?:"
    r"(?:should|must|need|will|can|do|does|is|are)(?:n't| not)|cannot|never|won't|can't))"
)
_PART_START = re.compile(rf'\A|\b(?=(?:{_NEGATION}|{_ANY_EGO}) )')
# Not "stop sign" and "moving cars".
_AFTER_VERB = rf'(?=\Z|{TAIL_START}| (?:due|given|if|unless|without)\b)'
_ACTION = re.compile(rf'{_START}{_VERB}{_AFTER_VERB}')
_NO_ACTION = re.compile(rf'{_NEGATION} (?:to )?{_START}{_VERB}{_AFTER_VERB}')
_SLOWLY = re.compile(r'\b(?:slowly|slower|(?:slow|low|lower|reduced|walking) (?:speed|pace))\b')
_SIDES = re.compile(r'\b(left|right)\b(?! of way)')
# Words that would make another behaviour out of "go on", "slow down" or "stop".
_ASIDE = re.compile(r'\b(?:to|into|onto|towards?) (?:\w+ ){0,2}(?:left|right)\b(?! of)')
_BEFORE_SPEED = {  # the last word before a target speed
    'SLOW_DOWN': ('to',),
    'FASTER': ('to',),
    'NONE': ('at', 'of'),
    'MOVE': ('at', 'of'),
    'TURN': ('at', 'of'),
    'SHIFT': ('at', 'of'),
    'KEEP': ('', 'of'),
}
_TAG = re.compile(r'<c[0-9]{1,3},[^<>]*>')
STRAY = ' ,;.!"\u201c\u201d\uff0c\u3002'


@dataclass(frozen=True)
class Clause:
    """One thing that the vehicle does.

    Attributes:
        behavior: UNKNOWN for an action that the message has no constant for; None for what goes
            with every behaviour, such as keeping a distance.
        told: whether the vehicle is told to do it, and not described as doing it.
        speed: metres a second, where the clause says the speed to have.
        joined: whether "and" or "then" joins it to the clause before.

    """

    behavior: Behavior | None
    told: bool
    speed: float | None = None
    joined: bool = False


def plain(words: str) -> str:
    """Return words in small ASCII letters as far as possible, on one line and without marks.

    An object's tag becomes the word "obstacle".
    """
    words = _TAG.sub('obstacle', to_ascii(words).lower().replace('\u2019', "'"))
    return ' '.join(strip_emphasis(words).split()).strip(STRAY)


def read_clauses(sentence: str) -> tuple[Clause, ...]:
    """Read a sentence; it gives no clauses unless the grammar derives all of it."""
    words = plain(sentence)
    clauses: list[Clause] = []
    position, joined = 0, False
    while len(words) <= LONGEST:
        match = _CLAUSE.match(words, position)
        clause = _clause(match, joined=joined) if match else None
        if match is None or clause is None:
            break
        clauses.append(clause)
        if match.end() == len(words):
            return tuple(clauses)
        join = _JOIN.match(words, match.end())
        if join is None:
            break
        position, joined = join.end(), join.group().strip() != ','
    return ()


def behavior_of(clauses: Sequence[Clause]) -> Behavior:
    """Return the one behaviour of the clauses.

    To slow down and then stop is one, a stop; any other two are UNKNOWN.
    """
    actions = [clause for clause in clauses if clause.behavior is not None]
    behaviors = [behavior for behavior, _ in groupby(clause.behavior for clause in actions)]
    if behaviors == [Behavior.SLOW_DOWN, Behavior.STOP]:
        stop = next(clause for clause in actions if clause.behavior is Behavior.STOP)
        return Behavior.STOP if stop.joined else Behavior.UNKNOWN
    return (behaviors[0] if len(behaviors) == 1 else None) or Behavior.UNKNOWN


def target_speed_of(clauses: Sequence[Clause]) -> float | None:
    """Return the one speed that the clauses tell the vehicle to have, in metres a second.

    A sentence that describes what the vehicle does, or tells it two behaviours, has none.
    """
    actions = [clause for clause in clauses if clause.behavior is not None]
    speeds = {clause.speed for clause in actions} - {None}
    one = len(speeds) == len({clause.behavior for clause in actions}) == 1
    return speeds.pop() if one and all(clause.told for clause in actions) else None


def read_behavior(words: str) -> Behavior:
    """Return the behaviour that a sentence says the vehicle does; UNKNOWN unless it is one."""
    return behavior_of(read_clauses(words))


def read_speed(words: str) -> float | None:
    """Read a target speed in metres a second from "30 km/h" alone or from a sentence with it."""
    bare = plain(words)
    if re.fullmatch(_ABOUT + _SPEED, bare):
        return _metres_a_second(bare)
    return target_speed_of(read_clauses(words))


def speeds_in(text: str) -> set[float | None]:
    """Return every speed in a text, in metres a second, but those after "from"."""
    return {_metres_a_second(speed.group()) for speed in _ANY_SPEED.finditer(plain(text))}


def actions_in(text: str, *, described: bool = False) -> Iterator[Behavior | None]:
    """Yield the behaviour of each part of a text that tells the vehicle what to do.

    A part that tells it not to do something yields None.

    Args:
        text: free words, such as a reason.
        described: whether parts that describe what the ego vehicle does count, too.

    """
    # A line or a capital letter begins a sentence, but not in "do NOT Stop" or "never Stop".
    text = re.sub(r'\n|(?<!(?i:not))(?<!(?i:ever)) (?=[A-Z][a-z])', '; ', text)
    for piece in _PIECE.split(plain(text)):
        for start in (part.start() for part in _PART_START.finditer(piece)):
            if _NO_ACTION.match(piece, start):
                yield None
            elif match := _ACTION.match(piece, start):
                told = _is_told(match)
                behavior = _behavior(match, piece[start:])
                if behavior is not None and (told or (described and told is not None)):
                    yield behavior


def _clause(match: re.Match[str], *, joined: bool = False) -> Clause | None:
    """Check a match of the grammar for what a regular expression does not say well."""
    name, words = _verb(match), match.group()
    told = _is_told(match)
    sides = set(_SIDES.findall(words))
    lateral = name in ('TURN', 'SHIFT')
    if told is None or (len(sides) != 1 if lateral else _ASIDE.search(words)):
        return None
    groups = match.groupdict()
    prepositions = [groups[group] for group in ('first', 'last') if groups[group] is not None]
    if len(prepositions) > 1 or (name == 'KEEP' and not prepositions):
        return None
    if prepositions and prepositions[0].split(' ')[-1] not in _BEFORE_SPEED.get(name, ()):
        return None
    speed = None
    value = groups['first_speed'] or groups['last_speed']
    if value and 'current' not in words.split():
        speed = _metres_a_second(value)
    return Clause(_behavior(match, words), told, speed, joined)


def _verb(match: re.Match[str]) -> str:
    return next(name for name in _VERBS if match.group(name))


def _is_told(match: re.Match[str]) -> bool | None:
    """Tell whether the vehicle is told to do what the verb says; None if that is no sentence."""
    subject, modal, is_ = match.group('subject', 'told', 'is')
    verb = match.group(_verb(match)).split()[0]
    be = bool(is_) or (modal or '').endswith('be ')
    if match.group('state') or verb.endswith('ing'):
        return None if subject and not be else False
    if verb.endswith('s'):
        return None if modal or is_ else False
    if be or (subject and not modal and not match.group('you')):
        return None
    return not subject or bool(modal)


def _behavior(match: re.Match[str], words: str) -> Behavior | None:
    """Return the behaviour of a clause; UNKNOWN if it has no constant, None if it is none."""
    name = _verb(match)
    if name in ('TURN', 'SHIFT'):
        side = _SIDES.search(match.group(name))
        assert side is not None
        return Behavior[f'{name}_{side.group().upper()}']
    if name in ('NONE', 'MOVE') and _SLOWLY.search(words):
        return Behavior.SLOW_DOWN
    return None if name == 'WITH' else Behavior.__members__.get(name, Behavior.UNKNOWN)


def _metres_a_second(speed: str) -> float | None:
    number = re.search(_NUMBER, speed)
    assert number is not None
    unit = speed[number.end() :].strip()
    factor = next(value for units, value in _METRES_A_SECOND.items() if re.fullmatch(units, unit))
    value = float(number.group()) * factor
    return value if value <= _FASTEST else None
