"""Errors of a server, and the HTTP status of each."""

from __future__ import annotations

from http import HTTPStatus

from mimo_embodied_ros.core.errors import (
    BadEncodingError,
    InvalidRequestError,
    MimoError,
    ModelNotReadyError,
    QueueFullError,
)


class UnknownModelError(InvalidRequestError):
    """The request names another model than the one that is served."""


class TooLargeError(InvalidRequestError):
    """The body of the request is too large."""


class WrongKeyError(InvalidRequestError):
    """The request has no valid key."""


# The first one that fits counts; clients read them as openai_connection does.
_STATUS: tuple[tuple[type[MimoError], HTTPStatus], ...] = (
    (UnknownModelError, HTTPStatus.NOT_FOUND),
    (TooLargeError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (WrongKeyError, HTTPStatus.UNAUTHORIZED),
    (InvalidRequestError, HTTPStatus.BAD_REQUEST),
    (BadEncodingError, HTTPStatus.BAD_REQUEST),
    (QueueFullError, HTTPStatus.TOO_MANY_REQUESTS),
    (ModelNotReadyError, HTTPStatus.SERVICE_UNAVAILABLE),
)


def status_of(error: MimoError) -> HTTPStatus:
    """Return the status of an error; 500 where the model failed."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)),
                HTTPStatus.INTERNAL_SERVER_ERROR)
