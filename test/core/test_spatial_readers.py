"""Short answers: each valid form gives its value, and no damage gives one of two values."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mimo_embodied_ros.core.answers import AnswerType, SpatialAnswer
from mimo_embodied_ros.core.choice_readers import read_choice, read_choices
from mimo_embodied_ros.core.errors import MimoError
from mimo_embodied_ros.core.number_readers import read_number
from mimo_embodied_ros.core.spatial_readers import read_spatial
from mimo_embodied_ros.core.tasks import TASKS
from mimo_embodied_ros.core.vocabulary_readers import read_labels, read_word
from mimo_embodied_ros.core.yes_no_readers import read_yes_no

OPTIONS = ('move left', 'move forward', 'turn around', 'stop')
ACTIONS = ('slow down', 'honk', 'keep a distance', 'overtake')
ROADS = ('intersection', 'straight road', 'road', 'roundabout')
WORDS = TASKS['surround_word'].vocabulary
SURE = [word for word in WORDS if word != 'not standing']  # "is not standing" is not sure

LEADS = (
    '', 'The answer is ', 'Answer: ', 'So the final answer is: ', '**Answer:** ', '答案是',
    '答案\uff1a', 'The cup is red.\nAnswer: ', 'The cup is red. The answer is ',
)  # fmt: skip
FRAMES = ('{}', '**{}**', '"{}"', '`{}`', r'\textbf{{{}}}', r'\mathrm{{{}}}', '${}$', r'\({}\)')
ENDS = ('', '.', '\u3002', '\n')
# two answers joined by one of these are two answers
JOINS = (
    ' or ', ' and ', ', ', '/', '\n', '; ', ' but ', '. Wait, ', '. No, ', ' (or ',
    ', maybe ', ' - ', ' | ', '或', '\uff0c', '、', '。', ' and then ',
    ' rather than ', ' not ', ' instead of ', '\nor ',
    '\nAnswer: ', '. The answer is ', '\n\nThe final answer is ', '. Actually, ', '\n- ',
)  # fmt: skip
HEDGES = (
    ('Maybe ', ''), ('Not ', ''), ('It is not ', ''), ('I think ', ''), ('The answer is not ', ''),
    ('Perhaps ', '.'), ('Either ', ''), ('Is it ', '?'), ('', '?'), ('', ' or not'), ('', ' maybe'),
    ('', ', but I am not sure'), ('', ' is wrong'), ('', ' if the lid is open'), ('', ', unless'),
    ('不', ''), ('不是', ''), ('可能是', ''), ('', '吗'), ('I am not sure.\nAnswer: ', ''),
    ('It may be something else.\nAnswer: ', ''), ('', ' is not the answer'), ('', ' is incorrect.'),
)  # fmt: skip
ASCII_TO_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


def wide(text: str) -> str:
    return text.translate(ASCII_TO_WIDE)


def framed(value: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A value with a lead, in a typeface, with an end."""
    parts = st.tuples(*map(st.sampled_from, (LEADS, FRAMES, ENDS)), value)
    return parts.map(lambda p: p[0] + p[1].format(p[3]) + p[2])


# --- yes or no -------------------------------------------------------------------------------

CLAUSES = {
    True: ('it is', 'it is on the table', 'the cup is left of the bowl', "it's done",
           'there is a cup on the table', 'the task has been completed', 'it can be done',
           'the red cube is between the bowl and the cup', 'the robot can reach the cup'),
    False: ('it is not', "it isn't on the table", 'the cup is not left of the bowl',
            "it can't be done", 'it is not done', 'there is no cup on the table',
            'the task has not been completed', 'it is not done yet',
            'the robot cannot reach the cup'),
}  # fmt: skip
BARE = {
    True: ('yes', 'Yes', 'YES', '(yes)', wide('yes'), '是', '是的', '对'),
    False: ('no', 'No', 'NO', '(no)', wide('No'), '否', '不是', '没有', '不对'),
}


def saying(yes: bool) -> st.SearchStrategy[str]:
    """A form that says yes, or no."""
    word = 'Yes' if yes else 'No'
    gap, clause = st.sampled_from([', ', '. ', '; ', ' ', '\n']), st.sampled_from(CLAUSES[yes])
    said = st.tuples(gap, clause).map(lambda c: f'{word}{c[0]}{c[1]}.')
    return framed(st.sampled_from(BARE[yes])) | said


@given(st.booleans().flatmap(lambda yes: st.tuples(st.just(yes), saying(yes))))
def test_yes_and_no_in_every_form(case: tuple[bool, str]) -> None:
    yes, text = case
    assert read_yes_no(text) == SpatialAnswer(text, AnswerType.YES_NO, yes=yes)


@settings(max_examples=300)
@given(saying(yes=True), saying(yes=False), st.sampled_from(JOINS), st.booleans())
def test_yes_joined_with_no_is_neither(yes: str, no: str, join: str, turned: bool) -> None:
    text = no + join + yes if turned else yes + join + no
    assert read_yes_no(text) is None, text


@given(st.sampled_from(['yes', 'no']), st.sampled_from(HEDGES))
def test_a_doubtful_yes_or_no_is_neither(word: str, hedge: tuple[str, str]) -> None:
    text = word.join(hedge)
    assert read_yes_no(text) is None, text


@pytest.mark.parametrize('clause', [
    'idea', 'way to tell', 'problem: yes', 'doubt', 'one', 'cup', '. 3 is the nearest',
    '-one knows',
    ', it is', ', it is on the right', ', the lid is closed', ', there is no doubt',
    ', there is no way to tell', ', it is not clear', ', it is not known', ', it is not impossible',
    ', not yet', ' more', ' longer', ', that is wrong', '. It is not. It is on the left',
])  # fmt: skip
def test_words_after_no_that_do_not_deny(clause: str) -> None:
    for gap in ('', ' '):
        assert read_yes_no(f'No{gap}{clause}.') is None


@pytest.mark.parametrize('clause', [
    'it is not', 'it is wrong', 'it is impossible', 'it might be', 'it was', 'it will be done',
    'it is almost done', 'it is about done', 'it is only in part on the table', 'it is on no table',
    'it is left of the bowl, or right', 'it is left of the bowl and right of the plate',
    'there is no cup', 'there is no doubt', 'the opposite is true', 'if it is open', 'right?',
    'the answer is no', 'it is on the table. Or not', 'no cup is on the table', 'it is, is it not',
])  # fmt: skip
def test_words_after_yes_that_do_not_affirm(clause: str) -> None:
    assert read_yes_no(f'Yes, {clause}.') is None


# --- choices ---------------------------------------------------------------------------------

LETTER_LEADS = (*LEADS, 'Option ', 'The correct option is ', 'My choice is ', 'I choose ', '选',
                '选项', '故选', '正确答案是', '因此\uff0c答案为')  # fmt: skip
LETTER_FRAMES = (*FRAMES, '({})', '[{}]', '\uff08{}\uff09', '{})')


def naming(letter: str, options: tuple[str, ...]) -> st.SearchStrategy[str]:
    """A form that names the option with the letter."""
    words = options['ABCD'.index(letter)]
    bare = st.tuples(*map(st.sampled_from, (LETTER_LEADS, LETTER_FRAMES, ENDS)))
    return (
        bare.map(lambda b: b[0] + b[1].format(letter) + b[2])
        | st.sampled_from([letter.lower(), f'({letter.lower()})', wide(letter), f'{letter}\uff0e'])
        | st.sampled_from([f'{letter}项', f'应选择{letter}项', f'{letter} is correct.'])
        | st.sampled_from(['{}. {}', '({}) {}.', '{}) {}', '{}: {}', 'Option {}: {}', '{}\n{}',
                           '{}、{}', 'The answer is {}. {}']).map(lambda f: f.format(letter, words))
        | framed(st.sampled_from([words, words.capitalize(), words.upper()]))
    )  # fmt: skip


letters = st.sampled_from('ABCD')


@pytest.mark.no_cover
@settings(max_examples=300)
@given(letters.flatmap(lambda x: st.tuples(st.just(x), naming(x, OPTIONS))))
def test_a_choice_in_every_form(case: tuple[str, str]) -> None:
    letter, text = case
    expected = SpatialAnswer(text, AnswerType.CHOICE, choices=(letter,))
    assert read_choice(text, OPTIONS) == expected, text
    assert read_choices(text, OPTIONS) == expected, text


@pytest.mark.no_cover
@settings(max_examples=500)
@given(st.permutations('ABCD').flatmap(
    lambda x: st.tuples(naming(x[0], OPTIONS), st.sampled_from(JOINS), naming(x[1], OPTIONS))))
def test_two_joined_choices_are_not_one(parts: tuple[str, ...]) -> None:
    text = ''.join(parts)
    assert read_choice(text, OPTIONS) is None, text
    several = read_choices(text, OPTIONS)
    assert several is None or len(several.choices) == 2, text
    if not any(option in text.lower() for option in OPTIONS):  # which read_spatial does not know
        with contextlib.suppress(MimoError):  # brackets that are no list
            assert read_spatial(text).type is not AnswerType.CHOICE, text


@given(letters, st.sampled_from(HEDGES))
def test_a_doubtful_choice_is_none(letter: str, hedge: tuple[str, str]) -> None:
    text = letter.join(hedge)
    for options in (OPTIONS, ()):
        assert read_choice(text, options) is None, text
        assert read_choices(text, options) is None, text


@given(st.permutations('ABCD'),
       st.sampled_from(['{}. {}', '({}) {}', '{}: {}', '{} - {}', '{} {}']))  # fmt: skip
def test_a_letter_with_the_words_of_another_option(order: list[str], form: str) -> None:
    text = form.format(order[0], OPTIONS['ABCD'.index(order[1])])
    assert read_choice(text, OPTIONS) is None
    assert read_choices(text, OPTIONS) is None


@pytest.mark.parametrize(('text', 'options', 'letter'), [
    ('C. red cube, left of the bowl', (), 'C'),
    ('B. 2.4 meters', (), 'B'),
    ('B、向前移动', (), 'B'),
    ('B. forward', OPTIONS, 'B'),
    ('B. move', OPTIONS, ''),  # a part of two options
    ('B. forward?', OPTIONS, ''),
    ('A. left', ('do not move left', 'stop'), ''),
    ('Take dough', ('Take dough from tray', 'Take dough'), 'B'),
    ('A. Take dough', ('Take dough from tray', 'Take dough'), ''),
    ('B', ('red', 'blue', 'B'), ''),  # the letter, or the words of option C
    ('stop', ('stop', 'stop'), ''),
    ('E', OPTIONS, ''),
    ('I', (), ''),
    ('A red cube', (), ''),
    ('A cube', ('bowl', 'cube'), ''),
    ('A. The cup is left of it: this is wrong.\nB. It is right of it: this is correct.', (), ''),
    ('Option (A) is wrong, option (C) is right.', (), ''),
    ('(A) is too far and (C) is behind, which leaves (B).', (), ''),
    ('(A) can be excluded', (), ''),
    ('A. red cube, though I am unsure', (), ''),
    ('A. red cube\nB', (), ''),
    ('B、可能', (), ''),
    ('A. wrong', (), ''),
    ('A is right.', OPTIONS, ''),  # of something
    ('A is the right answer.', OPTIONS, 'A'),
    ('None of the above', OPTIONS, ''),
    ('None of the above', (*OPTIONS, 'None of the above'), 'E'),
    ('All of the above', OPTIONS, ''),
    ('Neither', OPTIONS, ''),
    ('The robot could move left.\nThe answer is B.', OPTIONS, ''),
    ('Option A is too far.\nThe answer is B.', OPTIONS, ''),
    ('选A。答案是B', OPTIONS, ''),
    ('选A还是B', OPTIONS, ''),
    ('A door moves.\nAnswer: B', OPTIONS, 'B'),
])  # fmt: skip
def test_choice(text: str, options: tuple[str, ...], letter: str) -> None:
    answer = read_choice(text, options)
    assert (answer.choice if answer else '') == letter


@given(st.sets(st.sampled_from('ABCDEFGH'), min_size=1), st.data())
def test_letters_round_trip(chosen: set[str], data: st.DataObject) -> None:
    order = data.draw(st.permutations(sorted(chosen)))
    joins = ['', ', ', ' and ', ',', '; ', ' ', '、', '和', '\uff0c', '\n']
    join = data.draw(st.sampled_from(joins))
    for lead in ('', 'The correct answer is ', '答案\uff1a', '选'):
        answer = read_choices(lead + join.join(order))
        assert answer is not None
        assert answer.choices == tuple(sorted(chosen))
        assert answer.choice == ''.join(sorted(chosen))


@given(st.sets(letters, min_size=2), st.sampled_from(['\n', ' and ', ', ', '; ', ', and ', '. ']),
       st.sampled_from(['{}. {}', '({}) {}', '{}: {}', '{}) {}', '{}. {}.']))  # fmt: skip
def test_letters_with_the_words_of_their_options(chosen: set[str], join: str, form: str) -> None:
    items = [form.format(x, ACTIONS['ABCD'.index(x)]) for x in sorted(chosen)]
    answer = read_choices(join.join(items), ACTIONS)
    assert answer is None or answer.choices == tuple(sorted(chosen))
    assert answer or join == '. '


@pytest.mark.parametrize('text', [
    'A or C', 'A/C', 'A and not C', 'A, not C', 'A but not C', 'not A and C', 'A, C or D', 'AA',
    'AE',
    'A-C', 'A to C', 'a, c', 'all of them', 'slow down and keep a distance', 'A. slow down and C',
    'A. slow down or C. keep a distance', 'A. honk and C. keep a distance', 'AC?', 'maybe AC',
    'A. slow down, not C. keep a distance', 'A. slow down\nC. keep a distance\nor B. honk',
    'AC or BD', 'AC\nAnswer: BD', 'A and C are wrong',
])  # fmt: skip
def test_letters_that_are_not_read(text: str) -> None:
    assert read_choices(text, ACTIONS) is None


@given(st.text(max_size=60), st.lists(st.text(min_size=1, max_size=9), max_size=4))
def test_a_choice_is_one_that_was_offered(words: str, options: list[str]) -> None:
    answer = read_choice(words, options)
    if answer is not None and options:
        assert answer.choice in 'ABCDE'[: len(options)]
    with contextlib.suppress(MimoError):  # brackets that are no list
        assert read_spatial(words).text == words


# --- numbers ---------------------------------------------------------------------------------

numbers = st.integers(-99_999, 99_999).map(lambda n: n / 100) | st.integers(-50, 999)
UNITS = ('', ' m', 'cm', ' chairs', ' red chairs', ' km/h', ' m/s', '%', r'\%', ' m²',
         r'\,\text{m}', '米', '个', ' 个杯子', '°', r'^\circ', ' square meters')  # fmt: skip
SENTENCES = (
    'There are {}.', 'about {}', 'approximately {}', '~{}', r'\approx {}', '约{}', 'I count {}.',
    'The distance between the chair and the table is {}.', 'The number of chairs is {}.',
    'It is {}.',
    'So there are {}.', '图中有{}。', '一共有{}', '距离是{}',
)  # fmt: skip
UNIT_ENDS = {r'\%': '%', r'\,\text{m}': 'm', r'^\circ': '°'}


def stating(number: float) -> st.SearchStrategy[str]:
    """A form that says the number."""
    forms = [f'{number}', wide(f'{number}'), f'{number}'.replace('-', '\u2212')]
    return framed(st.sampled_from(forms)) | st.tuples(
        st.sampled_from(SENTENCES), st.sampled_from(UNITS)
    ).map(lambda p: p[0].format(f'{number}{p[1]}'))


@pytest.mark.no_cover
@settings(max_examples=300)
@given(numbers.flatmap(lambda n: st.tuples(st.just(n), stating(n))))
def test_a_number_in_every_form(case: tuple[float, str]) -> None:
    number, text = case
    answer = read_number(text)
    assert answer is not None, text
    assert (answer.type, answer.number, answer.text) == (AnswerType.NUMBER, number, text)


@given(numbers, st.sampled_from(UNITS))
def test_numbers_round_trip(number: float, unit: str) -> None:
    for text in (f'{number}{unit}', f'about {number}{unit}.', f'The answer is {number}{unit}'):
        answer = read_number(text)
        assert answer is not None
        assert (answer.type, answer.number) == (AnswerType.NUMBER, number)
        assert answer.unit == UNIT_ENDS.get(unit, unit).strip()


@pytest.mark.no_cover
@settings(max_examples=500)
@given(st.lists(numbers, min_size=2, max_size=2, unique=True).flatmap(
           lambda pair: st.tuples(*map(stating, pair))),
       st.sampled_from([*JOINS, '-', '\u2013', '~', ' to ', ',', ' ', ':', '^', '**', ' \\times ',
                        '±', "'", ' x ', '=', ' < ', '\\sqrt{', 'e', ' of ', ' m ',
                        ' plus ']))  # fmt: skip
def test_two_joined_numbers_are_not_one(pair: tuple[str, str], join: str) -> None:
    text = join.join(pair)
    assert read_number(text) is None, text
    assert read_spatial(text).type is not AnswerType.NUMBER, text


@given(numbers, st.sampled_from([
    *HEDGES, ('minus ', ''), ('', '!'), ('', '\u00b2'), ('', '^2'), ('', r'\pi'), (r'\sqrt{', '}'),
    (r'\frac{', '}{2}'), ('', ' thousand'), ('', ' dozen'), ('', 'e3'), ('', '/2'),
    ('', ' or more'), ('', '+'), ('\u00b1', ''), ('', ' of 5'), ('', '\u00bd'), ('', '个半'),
    ('', ',5'), ('', ' 000'),
    ('', '万'), ('', '多个'), ('', ' more'), ('', ' times'), ('', ' pairs'), ('', ' halves'),
    ('0x', ''),
    ('less than ', ''), ('at least ', ''), ('more than ', ''), ('up to ', ''), ('No. ', ''),
    ('#', ''),
    ('image ', ''), ('第', '个'), ('没有', '个'), ('图中没有', '个'), ('nearly ', ''), ('- ', ''),
    ('There are not ', ' chairs'), ('', ' chairs and two tables'), ('', ' chair and another one'),
    ('In image ', ' there are two chairs'), ('the ', 'nd one'), ('(', ')'), ('', 'th'), ('<', ''),
    ('There are two.\nAnswer: ', ''), ('一张桌子。答案\uff1a', ''), ('\u2013', ''),
    (r'10^{', '}'),
    ('', '个杯子\uff0c两个是红色的'), ('three, or ', ''),
    ('', '{,}000'), ('', r'\,000'), ('', "'000"),
]))  # fmt: skip
def test_a_damaged_number_is_none(number: float, damage: tuple[str, str]) -> None:
    assume(number >= 0)
    text = f'{number}'.join(damage)
    assert read_number(text) is None, text
    assert read_spatial(text).type is not AnswerType.NUMBER, text


@pytest.mark.parametrize('text', [
    'three', 'half', '三', '\u0663', '1,200', '1.200,5', '1.5.2', '12:30', '1st', '2.4 m or 3',
    '5 ft 3 in', '9' * 400, '[8, 29, 93, 70]', 'There is 1 chair at the table and another, so 2.',
    '3。4', '$3$$4$', r'\textbf{3}\textbf{4}', 'The wrong number is 3.', 'The number is not 3.',
    'The distance may be 2.4 m.', 'There are 3 chairs or tables.', '1 k', '3 is',
    '1 way or another',
    'The image number is 3.', '可能图中有3个杯子', '图中有3个杯子吗', '3 tens', '3 pm',
])  # fmt: skip
def test_numbers_that_are_not_read(text: str) -> None:
    assert read_number(text) is None


# --- words of a vocabulary -------------------------------------------------------------------


@given(st.lists(st.sampled_from(WORDS[11:]), min_size=1, unique=True))
def test_labels_round_trip(labels: list[str]) -> None:
    for join in (', ', '\n- ', ' and '):
        answer = read_labels(join.join(label.title() for label in labels), WORDS)
        assert answer is not None
        assert answer.choices == tuple(labels)
    word = read_word(labels[0].upper() + '.', WORDS)
    assert word is not None
    assert word.yes is not None or word.choice == labels[0]


@pytest.mark.no_cover
@settings(max_examples=300)
@given(st.lists(st.sampled_from(SURE), min_size=2, max_size=2, unique=True), st.data())
def test_two_joined_words_are_not_one(pair: list[str], data: st.DataObject) -> None:
    first, second = (data.draw(framed(st.just(word))) for word in pair)
    assert read_word(first, WORDS) is not None, first
    text = first + data.draw(st.sampled_from(JOINS)) + second
    joined = data.draw(st.sampled_from(['', text]))
    assert read_word(joined, WORDS) is None, joined


@given(st.sampled_from(WORDS), st.sampled_from(HEDGES))
def test_a_doubtful_word_is_none(word: str, hedge: tuple[str, str]) -> None:
    text = word.join(hedge)
    assume(text.lower() not in WORDS)  # "not standing" is a word
    assert read_word(text, WORDS) is None, text


@pytest.mark.parametrize(('text', 'options', 'word'), [
    ('It is an intersection.', ROADS, 'intersection'),
    ('This is a straight road.', ROADS, 'straight road'),
    ('The road is a roundabout on the left.', ('roundabout', 'bridge'), 'roundabout'),
    ('The answer is road.', ROADS, 'road'),
    ('It is not an intersection.', ROADS, ''),
    ('It may be an intersection.', ROADS, ''),
    ('It is an intersection or a roundabout.', ROADS, ''),
    ('It is a road near an intersection.', ROADS, ''),
    ('It is a road closure.', ROADS, ''),
    ('no intersection', ROADS, ''),
    ('There are 3 lanes.', ('0', '1', '2', '3'), '3'),
    ('The number of lanes is 3.', ('0', '1', '2', '3'), '3'),
    ('There are 2 or 3 lanes.', ('0', '1', '2', '3'), ''),
    ('There are at least 3 lanes.', ('0', '1', '2', '3'), ''),
    ('There are not 3 lanes.', ('0', '1', '2', '3'), ''),
    ('There are 3 lanes and one more.', ('0', '1', '2', '3'), ''),
])  # fmt: skip
def test_sentence_that_names_an_option(text: str, options: tuple[str, ...], word: str) -> None:
    answer = read_word(text, (), options)
    assert ('' if answer is None else answer.choice or f'{answer.number:g}') == word


# --- spatial ---------------------------------------------------------------------------------


@pytest.mark.parametrize('text', [
    'No. 3 is the nearest one.', 'No, it is on the right.', 'No idea.', 'A cup', 'B or C', 'I', 'm',
    '5!', r'2\pi', r'\sqrt{2}', '3 or 4', 'There are 3 chairs.', 'yes or no', '1st', '2 dozen',
])  # fmt: skip
def test_a_type_that_is_not_sure_is_text(text: str) -> None:
    assert read_spatial(text) == SpatialAnswer(text)
