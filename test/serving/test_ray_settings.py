"""The configuration of Ray Serve, as far as it can be read without Ray."""

from __future__ import annotations

import dataclasses

from mimo_embodied_ros.core.yaml_files import read_yaml
from mimo_embodied_ros.engine import EngineConfig
from support.paths import CONFIG


def test_the_arguments_are_settings_of_the_engine() -> None:
    (application,) = read_yaml(CONFIG / 'ray_serve.yaml')['applications']
    settings = {field.name for field in dataclasses.fields(EngineConfig)}
    assert application['args'].keys() - settings == {'served_model_name'}
    EngineConfig(**{name: value for name, value in application['args'].items()
                    if name in settings} | {'model': 'any'})
