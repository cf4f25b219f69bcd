"""Supervision of the vision tower: it first learns what lies under each image token.

During training only, a linear head predicts from the token in which a thing's point lies: its
colour, its shape, the digits of its pixel position and of its box, its size, its nearest
neighbour's name and place, and how many things there are, of its colour and of its shape; and from
each token of a road which way the road bends. The language model later reads these from the tokens;
without them it stays at chance for hours of CPU time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from mimo_embodied_ros.core.resize import FACTOR
from mimo_embodied_ros.worlds.road_scene import BENDS, ROAD_OBJECTS, Road
from mimo_embodied_ros.worlds.table_scene import Table, Thing
from mimo_embodied_ros.worlds.things import COLOURS, ROOM_SHAPES, SHAPES

from .table_questions import nearest_neighbour

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mimo_embodied_ros.worlds.road_scene import RoadObject

_COLOURS = ('', *COLOURS)
_SHAPES = tuple(dict.fromkeys((*SHAPES, *ROOM_SHAPES, *ROAD_OBJECTS)))
_C, _S = len(_COLOURS), len(_SHAPES)
_POINT_DIGITS, _DIGITS = 6, 18  # of x and y of the point, and of the box's edges
_COUNTS, _MOST = 3, 10  # how many things there are, of the same colour and shape; less than _MOST
_SIZE = 5 + _DIGITS + _COUNTS  # the column of the size in the targets
# widths of the head's outputs: whether a thing is there, its colour and shape, its neighbour's,
# the digits, the numbers, size, box, the neighbour's place, the place, the road's bend
_PARTS = (1, _C, _S, _C, _S, *([10] * _DIGITS), *([_MOST] * _COUNTS),
          1, 4, 2, 2, len(BENDS))
WIDTH = sum(_PARTS)
_MAX_SIDE = 14  # most rows or columns of image tokens
AIM = 2 * _MAX_SIDE + 2


def token_of(thing: Thing | RoadObject, rows: int, columns: int) -> int:
    """Return the image token in which a thing's point lies."""
    row, column = round(thing.y) // FACTOR, round(thing.x) // FACTOR
    return min(row, rows - 1) * columns + min(column, columns - 1)


def place(thing: Thing | RoadObject, rows: int, columns: int) -> tuple[float, float]:
    """Return x and y of a thing's point as shares of the picture's width and height."""
    return thing.x / (columns * FACTOR), thing.y / (rows * FACTOR)


def neighbour_of(scene: Table | Road, thing: Thing | RoadObject) -> Thing | None:
    """Return the thing that is clearly the nearest on a table, or None."""
    if isinstance(scene, Table) and isinstance(thing, Thing):
        return nearest_neighbour(scene, thing)
    return None


def neighbours(scenes: Sequence[Table | Road], rows: int, columns: int) -> torch.Tensor:
    """Return (n, 3): scene, token of a thing, token of the thing that is clearly nearest to it."""
    pairs = [(i, token_of(thing, rows, columns), token_of(near, rows, columns))
             for i, scene in enumerate(scenes) for thing in scene.things
             if (near := neighbour_of(scene, thing))]
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 3)


def targets(scenes: Sequence[Table | Road], rows: int, columns: int) -> torch.Tensor:
    """Return the targets of `dense_loss`, (scenes, tokens, 36).

    Their columns: whether a thing is there, its colour and shape, its neighbour's colour and shape,
    the digits, how many things there are and of its colour and shape, size, box, x and y of the
    neighbour, x and y of the token, the road's bend.
    """
    out = torch.zeros(len(scenes), rows * columns, _SIZE + 10)
    out[:, :, 3:5] = -1
    token = torch.arange(rows * columns)
    out[:, :, -3] = (token % columns + 0.5) / columns
    out[:, :, -2] = (token // columns + 0.5) / rows
    for scene, target in zip(scenes, out):
        target[:, -1] = BENDS.index(scene.bend) if (
            isinstance(scene, Road) and scene.bend) else -1
        for thing in scene.things:
            pixels = (min(999, max(0, round(v))) for v in (thing.x, thing.y, *thing.box))
            near = neighbour_of(scene, thing)
            target[token_of(thing, rows, columns), :-3] = torch.tensor([
                1, _COLOURS.index(thing.colour), _SHAPES.index(thing.shape),
                _COLOURS.index(near.colour) if near else -1,
                _SHAPES.index(near.shape) if near else -1,
                *(int(d) for pixel in pixels for d in f'{pixel:03d}'), *_numbers(scene, thing),
                math.log(thing.size) - 7,
                *((edge - centre) / FACTOR for edge, centre in zip(
                    thing.box, (thing.x, thing.y, thing.x, thing.y))),
                *(place(near, rows, columns) if near else (0, 0)),
            ])
    return out


def _numbers(scene: Table | Road, thing: Thing | RoadObject) -> tuple[int, ...]:
    """How many things there are on a table, and of the colour and of the shape of one."""
    if isinstance(scene, Road):
        return (-1,) * _COUNTS
    return (len(scene.things), sum(t.colour == thing.colour for t in scene.things),
            sum(t.shape == thing.shape for t in scene.things))


def dense_loss(
    outputs: torch.Tensor, target: torch.Tensor, names: float = 1.0
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the loss of the dense head's (tokens, WIDTH) outputs, and its parts for the log.

    Args:
        outputs: of the dense head.
        target: (tokens, …) of `targets`.
        names: weight of colours and shapes; digits of places get the inverse of it, the last of
            which are noise that hides how the shapes are told apart.

    """
    exists, *named, size, box, near, place, bend = outputs.float().split(_PARTS, -1)
    present = target[:, 0] > 0
    things = target[present]
    losses = {
        'there': 2 * F.binary_cross_entropy_with_logits(exists[:, 0], target[:, 0],
                                                        pos_weight=torch.tensor(4.0)),
        'place': 2 * F.l1_loss(place, target[:, -3:-1]),
        'bend': _class_loss(bend, target[:, -1]),
    }
    classes = ('colour', 'shape', 'near_colour', 'near_shape',
               *(f'digit{i}' for i in range(_DIGITS)), 'number', 'same_colour', 'same_shape')
    for i, name in enumerate(classes):
        weight = (names if i < 2 else 1.0 if i < 4 else 0.7 / names if i < 4 + _POINT_DIGITS else
                  0.3 / names if i < 4 + _DIGITS else 0.5)
        losses[name] = weight * _class_loss(named[i][present], things[:, i + 1])
    has_near = things[:, 3] >= 0
    apart = near[present][has_near] - things[has_near, _SIZE + 5 : _SIZE + 7]
    losses['near_place'] = 2 * apart.abs().sum() / max(1, apart.numel())
    losses['size'] = F.l1_loss(size[present][:, 0], things[:, _SIZE])
    losses['box'] = 2 * F.l1_loss(box[present], things[:, _SIZE + 1 : _SIZE + 5])
    return sum(losses.values(), torch.zeros(())), {k: v.item() for k, v in losses.items()}


def aim_loss(
    outputs: torch.Tensor, target: torch.Tensor, rows: int, columns: int
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the loss of the aim head's (tokens, AIM) outputs, and its parts for the log.

    The outputs are row and column of each token, and the offset of a thing in its token. Together
    they are the thing's pixel; the digits alone teach too little of it.
    """
    row, column, offset = outputs.float().split((_MAX_SIDE, _MAX_SIDE, 2), -1)
    size, cell = torch.tensor([columns, rows]), target[:, -3:-1]
    at = (cell * size).long()
    present = target[:, 0] > 0
    digits = target[present, 5 : 5 + _POINT_DIGITS].unflatten(-1, (2, 3))
    pixel = digits @ torch.tensor([100.0, 10.0, 1.0])
    losses = {
        'column': F.cross_entropy(column, at[:, 0]),
        'row': F.cross_entropy(row, at[:, 1]),
        'offset': 8 * F.l1_loss(offset[present], pixel / FACTOR - at[present] - 0.5),
    }
    return sum(losses.values(), torch.zeros(())), {k: v.item() for k, v in losses.items()}


def _class_loss(outputs: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy where there is a class: tables have no bend, roads no neighbours."""
    has_class = classes >= 0
    loss = F.cross_entropy(outputs[has_class], classes[has_class].long(), reduction='sum')
    return loss / max(1, int(has_class.sum()))
