"""``metadata.yaml`` of a bag: its files, their compression, and what they should hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml

from mimo_embodied_ros.core.characters import valid_values
from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.files import yaml_reason

from .storage import full_type

NAME = 'metadata.yaml'
_REINDEX = 'make it again with "ros2 bag reindex", or give one of the files'


@dataclass(frozen=True)
class Metadata:
    """The part of ``metadata.yaml`` that reading needs.

    Attributes:
        files: paths of the bag's files, as listed, which need not be their order in time.
        compression: '', 'file' or 'message'; compressed with zstd.
        topics: names and types of the topics of which messages are listed.

    """

    files: tuple[Path, ...]
    compression: str
    topics: frozenset[tuple[str, str]]


def read_metadata(folder: Path) -> Metadata:
    """Read the file ``metadata.yaml`` in the folder of a bag.

    Raises:
        InvalidRequestError: it has another form, or names what is not there or cannot be read.
        OSError: it cannot be read.

    """
    path = folder / NAME
    try:
        content: Any = valid_values(yaml.safe_load(path.read_text('utf-8')))
        fields = content['rosbag2_bagfile_information']
        names = [PurePath(name).name for name in fields['relative_file_paths']]
        compression = (fields.get('compression_mode') or '').lower().replace('none', '')
        codec = fields.get('compression_format') or 'none'
        listed = frozenset(
            (topic['topic_metadata']['name'], full_type(topic['topic_metadata']['type']))
            for topic in fields['topics_with_message_count'] if topic['message_count'])
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        text = yaml_reason(error) if isinstance(error, yaml.YAMLError) else repr(error)
        raise InvalidRequestError(
            f'{path} is not the YAML that a recorder writes ({text}); {_REINDEX}') from error
    files = tuple(folder / name for name in names)
    if missing := [file.name for file in files if not file.exists()]:
        raise InvalidRequestError(
            f'{path} lists {", ".join(missing)}, which the folder does not have; copy what is '
            f'missing, or {_REINDEX}')
    if compression not in {'', 'file', 'message'}:
        raise InvalidRequestError(
            f'{path}: the compression_mode {compression!r} is not known; convert the bag with '
            '"ros2 bag convert"')
    if compression and codec != 'zstd':
        raise InvalidRequestError(
            f'{path}: the bag is compressed with {codec}, and only zstd can be read here; convert '
            'it with "ros2 bag convert" where the plugin for this compression is installed')
    return Metadata(files, compression, listed)
