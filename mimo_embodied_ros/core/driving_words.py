"""The words that a driving clause may hold beside its verb: where, how and for what it is done.

A clause with any other word is not read. What could turn a clause round is left out: negations,
conditions, alternatives, and whatever could be a verb of its own. No text is derived in two ways,
which keeps the search short.
"""

from __future__ import annotations

END = r'(?=[ ,]|\Z)'


def _any(words: str) -> str:
    return '(?:' + '|'.join(words.split()) + ')'


MANNER = _any(
    'now immediately slowly gently gradually carefully cautiously safely smoothly slightly sharply'
    ' firmly hard quickly promptly completely fully steadily normally briefly'
)
_ADVERB = rf'(?:{MANNER}|ahead|straight|forwards?|slower)'
DETERMINER = _any('the an? its your our this these those some several many both two three four')
_PREPOSITION = _any(
    'behind before after near for to towards? in into onto on along through across around past by'
    ' with under over from beside between down'
)
_ADJECTIVE = _any(
    'red green amber yellow white black blue orange gr[ae]y silver dark big large small heavy'
    ' oncoming preceding next first second other another ego wet icy snowy narrow busy safe steady'
    ' constant current same own moderate adjacent nearest crossing waiting parked approaching'
)
PLURAL = _any(
    'pedestrians people children cyclists riders workers animals cars vehicles trucks buses vans'
    ' motorcycles bicycles obstacles barriers cones lights signs traffic'
)
_NOUN = _any(
    'light sign line crosswalk junction intersection roundabout corner curve bend bridge tunnel'
    ' ramp road street highway motorway lanes? queue gap side edge kerb curb pedestrian person man'
    ' woman child cyclist bicycle bike motorcycle motorcyclist rider car vehicle truck bus van taxi'
    ' trailer tractor tram train ambulance obstacle barrier cone animal dog debris worker school'
    ' construction area route path track caution front scenario scene situation distance section'
)
# Words that are nouns, sides or manners together, while one of them alone may be a verb.
_COMPOUND = (
    r'(?:(?:stop|yield|give way|brake|exit)[ -](?:signs?|lines?|lights?)|(?:bus|tram) stop'
    r'|(?:stopped|moving|slow(?:er)?|slow[ -]moving)'
    r' (?:cars?|vehicles?|trucks?|bus(?:es)?|vans?|traffic|motorcycles?)'
    r'|(?:work|school|construction|pedestrian) zone|(?:railway|zebra|level) crossing'
    r'|(?:at|in) (?:an? )?(?:slow(?:er)?|low(?:er)?|reduced|walking) (?:speed|pace)'
    r'|at (?:the|its|your|our|an?) (?:(?:same|current|constant|steady|moderate) )?(?:speed|pace)'
    rf'(?: of (?:the )?traffic)?|(?:very|more) {MANNER}|right of way|flow of traffic|to turn green'
    r'|in front of|ahead of'
    r'|(?:end|side|edge|line|group|middle) of'
    rf'|to (?:follow|avoid|reach|enter)(?= (?:{DETERMINER} |{PLURAL}{END}))'
    rf'|to let (?:the )?(?:{PLURAL}|{_NOUN}) (?:cross|pass)'
    r'|(?:the|on|its|your|our|far) (?:left|right)(?:[ -]hand)?'
    r'|[0-9]{1,3} ?(?:m|met(?:er|re)s))'
)
_WORD = rf'(?:{_COMPOUND}|{DETERMINER}|{_ADJECTIVE}|{PLURAL}|{_NOUN}|{_PREPOSITION}|{_ADVERB}){END}'
# "At" needs an article: "stop at red lights" is a rule and no decision.
_AT = rf'at(?= (?:{DETERMINER} |[0-9]))'
WORDS = rf'(?: (?:(?:and (?={DETERMINER} |{PLURAL}{END}))?{_WORD}|{_AT}))*'
TAIL_START = rf' (?:{_COMPOUND}|{_AT}|{_PREPOSITION}|{_ADVERB}){END}'
TAIL = rf'(?:(?={TAIL_START}){WORDS})?'
NAMED = rf'(?:{DETERMINER}|{_ADJECTIVE}|{PLURAL}|{_NOUN}|{_COMPOUND}){END}'
