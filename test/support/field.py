"""Outputs from public reports: test/data/field; its README.md describes the lines.

Run it in the folder ``test`` to see what is made of each: ``python -m support.field``.
"""

from __future__ import annotations

import json
from typing import Any

from mimo_embodied_ros.core.errors import MimoError
from support.conformance import answer_to, simplified
from support.paths import TEST_DATA

OUTPUTS: list[dict[str, Any]] = [
    json.loads(line)
    for path in sorted((TEST_DATA / 'field').glob('*.jsonl'))
    for line in path.read_text('utf-8').splitlines()
]


def reading(output: dict[str, Any]) -> dict[str, Any]:
    """Return what the package makes of an output: the answer's fields, or the error's code."""
    try:
        return simplified(answer_to(output))
    except MimoError as error:
        return {'error': error.code.name}


def main() -> None:
    """Print each output with its reading, and whether it is as expected."""
    for output in OUTPUTS:
        read = reading(output)
        mark = 'ok ' if read == output['expect'] else 'NOT'
        print(f'{mark} {output["report"]}: {output["kind"]}\n    {output["text"]!r}\n    {read}')


if __name__ == '__main__':
    main()
