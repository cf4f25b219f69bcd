"""Pictures of trees, without graphviz; with it, use ``py_trees.display``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from py_trees.common import Status

from mimo_embodied_ros.pictures import write_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from py_trees.behaviour import Behaviour

_COLOURS = {
    Status.INVALID: (236, 238, 241), Status.RUNNING: (160, 200, 250),
    Status.SUCCESS: (170, 224, 172), Status.FAILURE: (246, 170, 164),
}
_INK, _PALE = (32, 36, 42), (110, 116, 126)
# pixels: size of the font, padding of a box, gap between boxes, height of a box, of a row
_SIZE, _PAD, _GAP, _BOX, _ROW = 15, 12, 14, 46, 74


def draw_tree(root: Behaviour) -> NDArray[np.uint8]:
    """Draw a tree with its root on top: each behaviour's name and type, its status as colour.

    Grey: not ticked, or stopped; blue: running; green: succeeded; red: failed.

    Returns:
        (height, width, 3) uint8, RGB.

    """
    font, small = (ImageFont.load_default(size) for size in (_SIZE, _SIZE - 4))

    def box(behaviour: Behaviour) -> float:
        return 2 * _PAD + max(font.getlength(behaviour.name),
                              small.getlength(type(behaviour).__name__))

    def width(behaviour: Behaviour) -> float:
        return max(box(behaviour), below(behaviour))

    def below(behaviour: Behaviour) -> float:
        return sum(map(width, behaviour.children)) + _GAP * max(0, len(behaviour.children) - 1)

    def rows(behaviour: Behaviour) -> int:
        return 1 + max(map(rows, behaviour.children), default=0)

    def draw(behaviour: Behaviour, left: float, top: float) -> float:
        """Draw a behaviour and those below it; return the column of its box's middle."""
        middle = left + width(behaviour) / 2
        x = middle - below(behaviour) / 2
        for child in behaviour.children:
            pen.line((middle, top + _BOX, draw(child, x, top + _ROW), top + _ROW), _PALE, 2)
            x += width(child) + _GAP
        half = box(behaviour) / 2
        pen.rounded_rectangle((middle - half, top, middle + half, top + _BOX), 8,
                              _COLOURS[behaviour.status], _PALE)
        pen.text((middle, top + 16), behaviour.name, _INK, font, 'mm')
        pen.text((middle, top + 34), type(behaviour).__name__, _PALE, small, 'mm')
        return middle

    size = (round(width(root) + 2 * _GAP), rows(root) * _ROW - (_ROW - _BOX) + 2 * _GAP)
    picture = Image.new('RGB', size, (255, 255, 255))
    pen = ImageDraw.Draw(picture)
    draw(root, _GAP, _GAP)
    return np.asarray(picture)


def main() -> None:
    """Draw the tree of the documentation."""
    from mimo_embodied_ros import action

    from .behaviours import Execute
    from .tabletop_tree import tabletop_task

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('--out', type=Path, default=Path('docs/tabletop_task.png'))
    execute = Execute('execute', action.Ask, 'execute_step', lambda _: action.Ask.Goal())
    write_picture(parser.parse_args().out, draw_tree(tabletop_task(execute, done='{done}')))


if __name__ == '__main__':
    main()
