"""Fixtures for tests of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope='session')
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a small model of the real class with random weights."""
    from support.random_model import save_random_model

    folder = tmp_path_factory.mktemp('engine') / 'random_vlm'
    save_random_model(folder)
    return folder
