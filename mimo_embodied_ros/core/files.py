"""Paths that users give, and the errors of the operating system in words with a remedy."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .characters import valid_text
from .errors import InvalidRequestError

if TYPE_CHECKING:
    import yaml

_REMEDIES = {
    errno.ENOENT: 'give one that exists',
    errno.EACCES: 'see to the permissions of the file and of its folders, or give another one',
    errno.EPERM: 'see to the permissions of the file and of its folders, or give another one',
    errno.EROFS: 'give a folder that can be written',
    errno.ENOSPC: 'free space on the disk, or give a folder on another one',
    errno.EDQUOT: 'free space of your quota, or give a folder on another disk',
    errno.EFBIG: 'raise the limit for the size of files (ulimit -f), or give another disk',
    errno.EISDIR: 'give a file',
    errno.ENOTDIR: 'give a path whose folders are folders',
    errno.EEXIST: 'give another one',
    errno.ENAMETOOLONG: 'give a shorter name',
    errno.ELOOP: 'its symbolic links lead in a circle, give another path',
    errno.EMFILE: 'raise the limit for open files (ulimit -n)',
    errno.EIO: 'the disk or the network behind it fails, see the log of the system',
}


def expand(path: str | Path) -> Path:
    """Replace ``~`` and ``~user`` at the beginning of a path by the home of the user.

    Raises:
        InvalidRequestError: there is no such user, or the user has no home.

    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # neither HOME nor the list of users tells it
        msg = f'{path}: the home folder of this user is not known; give the whole path'
        raise InvalidRequestError(msg) from error


def reason(error: OSError, *, named: bool = True) -> str:
    """Return one sentence: the file where ``named``, what is wrong with it, and what to do."""
    name = error.filename if named else None
    file = f'{name}: ' if isinstance(name, (str, os.PathLike)) else ''
    text = error.strerror or str(error) or type(error).__name__
    remedy = _REMEDIES.get(error.errno or 0, '')
    return valid_text(f'{file}{text}' + (f'; {remedy}' if remedy else ''))


def yaml_reason(error: yaml.YAMLError | ValueError) -> str:
    """Return what is wrong with a YAML file, and in which line, without line breaks."""
    mark = getattr(error, 'problem_mark', None)
    text = ' '.join(str(getattr(error, 'problem', None) or error).split())
    return text if mark is None else f'line {mark.line + 1}: {text}'


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is no JSON, or nested too deeply.

    """
    try:
        return json.loads(text)
    except RecursionError:
        msg = 'it is nested too deeply'
        raise ValueError(msg) from None
