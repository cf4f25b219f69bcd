"""Outputs in the shapes that public reports show become the expected answers."""

from __future__ import annotations

from typing import Any

import pytest

from support.field import OUTPUTS, reading


@pytest.mark.parametrize(
    'output', OUTPUTS, ids=lambda output: f'{output["report"]}-{output["kind"]}'[:60])
def test_output(output: dict[str, Any]) -> None:
    assert output.keys() >= {'report', 'kind', 'task', 'text', 'expect'}
    assert reading(output) == output['expect']
