"""Notes of libraries that say nothing to users of this package, and are not shown."""

from __future__ import annotations

import logging

# the beginning of the note, by the name of the logger
_NOTES = {
    # a faster kernel for 4 bit on CPUs, from a package that this one does not use
    'bitsandbytes.backends.cpu.ops': 'Failed to load CPU gemm_4bit_forward',
    # what 8 bit means, once more for each layer and token
    'bitsandbytes.autograd._functions': 'MatMul8bitLt: inputs will be cast from',
    # kernels for other GPUs and other versions of Python, which transformers' import tries to load
    'torchao': 'Failed to load ',
    # how torchao registers its types
    'torch.utils._pytree': "<enum '",
}


class _Drop(logging.Filter):
    """Drops the messages that begin with a text; all others are shown."""

    def __init__(self, begin: str) -> None:
        super().__init__()
        self._begin = begin

    def __eq__(self, other: object) -> bool:
        """Whether the other drops the same, so that a logger takes it only once."""
        return isinstance(other, _Drop) and other._begin == self._begin

    def __hash__(self) -> int:
        return hash(self._begin)

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(self._begin)


def hide_notes() -> None:
    """Hide the notes; call it before the libraries are imported."""
    for name, begin in _NOTES.items():
        logging.getLogger(name).addFilter(_Drop(begin))
