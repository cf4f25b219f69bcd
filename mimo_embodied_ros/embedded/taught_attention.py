"""Taught attention: which tokens some heads should attend to.

In one layer a thing's name attends to the thing, the word of a number to all things that it counts,
each of which tells how many they are, and an option to its letter. In the next one the answer
attends to the first and the second name in the question and to the word that says what is asked
about them, or to what a clip shows it; in the one after it to the right option. In the first layer
the place that something has left attends to what lay there. Heads that share keys and values
retrieve the same; for names, which must retrieve places to the pixel, one head of each group is
taught.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .packing import Example

    _Spans = Sequence[tuple[int, int]]  # where each token begins and ends in its text
    # a key of LAYERS, heads, attending token, attended token, number (of the name among the
    # question's, or of what is counted), image token
    Link = tuple[str, Sequence[int], int, int, int, int]

LAYERS = {'pointed': 1, 'counted': 1, 'lettered': 1, 'recalled': 2, 'asked': 2, 'seen': 2,
          'chosen': 3}
COMPARING_LAYER = 0
COMPARING_HEADS = (2, 5)
NAMES = 2
_FIRST, _SECOND, _WORD = _HEADS = ((0, 3), (1, 4), (2,))  # for the names, and for the word


class Mention(NamedTuple):
    """The end of a thing's name in a text, and the image token in which the thing lies."""

    end: int
    token: int


class Option(NamedTuple):
    """An option in a prompt: where its letter and where its text end, and whether it is right."""

    letter: int
    end: int
    right: bool


def links(
    example: Example, prompt: _Spans, reply: _Spans, before: int, core: Sequence[int], prefix: int,
    image_at: Sequence[int],
) -> Iterator[Link]:
    """Yield what is taught about an example.

    Args:
        example: the example.
        prompt: the prompt's tokens.
        reply: the reply's tokens.
        before: tokens before the reply.
        core: the tokens at which the core is predicted.
        prefix: tokens of the prefix.
        image_at: places of the image tokens in the prefix.

    """
    names = [(ending(prompt, end), thing) for end, thing in example.mentions]
    again = [(before + ending(reply, end), thing) for end, thing in example.repeats]
    for token, thing in names + again:
        yield 'pointed', _FIRST, token, image_at[thing], 0, thing
    for option in example.options:
        end = ending(prompt, option.end)
        yield 'lettered', _SECOND, end, prefix + ending(prompt, option.letter), 0, 0
    number = len(example.counted)
    for end, thing in example.counted:
        yield 'counted', _FIRST, ending(prompt, end), image_at[thing], number, 0
    for token in core:
        for name, heads, seen, number, thing in _of_answer(
                example, prompt, names, prefix, image_at):
            yield name, heads, token, seen, number, thing


def _of_answer(
    example: Example, prompt: _Spans, names: Sequence[tuple[int, int]], prefix: int,
    image_at: Sequence[int],
) -> Iterator[tuple[str, Sequence[int], int, int, int]]:
    """Yield what each token of the answer should attend to."""
    asked = [name for name, (end, _) in zip(names, example.mentions)
             if not example.options or end < example.options[0].letter]
    if example.recalls and len(asked) <= NAMES:
        for number, (name, thing) in enumerate(asked):
            yield 'recalled', _HEADS[number], prefix + name, number, thing
    if example.sense_word:
        yield 'asked', _WORD, prefix + ending(prompt, example.sense_word), 0, 0
    for option in example.options:
        if option.right:
            yield 'chosen', _FIRST, prefix + ending(prompt, option.end), 0, 0
    for word in {ending(prompt, end) for end, _ in example.counted}:
        yield 'asked', _FIRST, prefix + word, 0, 0
    if example.seen >= 0:
        yield 'seen', _FIRST, image_at[example.seen], 0, 0


def ending(spans: _Spans, place: int) -> int:
    """Return the token that ends at a place of the text."""
    return next(i for i, (_, last) in enumerate(spans) if last == place)
