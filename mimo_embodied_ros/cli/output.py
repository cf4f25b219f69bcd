"""What the commands print and write."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.files import expand

if TYPE_CHECKING:
    import argparse
    from pathlib import Path


def open_output() -> None:
    """Let stdout show letters that its encoding lacks by their numbers."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')


def flush_output() -> None:
    """Write what was printed; else a full disk shows only when Python ends.

    Raises:
        OSError: stdout takes no more.

    """
    if sys.stdout is not None:  # as it is where the shell closed it
        sys.stdout.flush()


def close_output(code: int) -> int:
    """Give up what stdout has not taken, so that Python does not report it when it ends.

    Returns:
        The exit code that was given.

    """
    try:
        flush_output()
    except OSError:
        with contextlib.suppress(OSError, ValueError):  # stdout may have no file
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def as_json(value: Any, *, ascii_only: bool = False) -> str:
    """Return a value as indented JSON that UTF-8 can hold."""
    text = json.dumps(value, indent=2, ensure_ascii=ascii_only)
    return text.encode('utf-8', 'backslashreplace').decode('utf-8')  # single surrogates


def print_json(value: Any) -> None:
    """Print a value as JSON, with escapes where the encoding of stdout lacks letters."""
    encoding = (getattr(sys.stdout, 'encoding', None) or '').lower().replace('-', '')
    print(as_json(value, ascii_only=encoding != 'utf8'))


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON into a file.

    Raises:
        OSError: it cannot be written; the error names the file.

    """
    text = as_json(value) + '\n'
    try:
        path.write_text(text, 'utf-8')
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error


def path_argument(text: str) -> Path:
    """Read an argument that is a path; ``~`` is the user's home also within the argument."""
    return expand(text)


def model_argument(text: str) -> str:
    """Read an argument that is the folder of a model, or its name on the hub."""
    return str(expand(text)) if text.startswith('~') else text


def add_profile_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments ``profile`` and ``profiles_file`` of a command that loads a model."""
    command.add_argument('--profile', default='', metavar='NAME',
                         help='how the model is asked and what its positions mean, see '
                              "docs/profiles.md (default: by the model's name)")
    command.add_argument('--profiles', dest='profiles_file', type=model_argument, default='',
                         metavar='FILE', help='YAML file with profiles of your own')
