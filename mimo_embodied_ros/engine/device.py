"""Whether the device of a model still works."""

from __future__ import annotations

import torch

from .checkpoint import first_line
from .interface import DeviceLostError
from .kv_memory import free_memory


def is_device_failure(error: Exception) -> bool:
    """Whether an error says that the device failed, after which it mostly fails every time."""
    # PyTorch before 2.8 raises a plain RuntimeError
    return isinstance(error, getattr(torch, 'AcceleratorError', ())) or (
        isinstance(error, RuntimeError) and str(error).startswith('CUDA error: ')
        and 'CUBLAS' not in str(error))


def check_device(device: torch.device | str) -> None:
    """See whether a device still works in this process.

    Raises:
        DeviceLostError: it does not; other processes may use it.

    """
    try:
        if torch.device(device).type == 'cuda':
            torch.cuda.synchronize(device)
        free_memory()
    except RuntimeError as error:
        raise DeviceLostError(
            f'{device} failed permanently ({first_line(error)}), and this program cannot use it '
            'any more; start the program again'
        ) from error
