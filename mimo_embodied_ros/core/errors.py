"""Exceptions of this package: one type for each code of msg/ResultCode.msg."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from .characters import valid_text
from .masking import mask


class ResultCode(IntEnum):
    """The constants of ``msg/ResultCode.msg``, in order of priority."""

    NONE = 0
    GOAL_REJECTED = 1
    SEND_GOAL_FAILURE = 2
    UNKNOWN = 7000
    MODEL_NOT_READY = 7001
    QUEUE_FULL = 7002
    INVALID_REQUEST = 7003
    NO_IMAGE = 7010
    STALE_IMAGE = 7011
    BAD_ENCODING = 7012
    NO_CAMERA_INFO = 7013
    NO_DEPTH = 7014
    TF_ERROR = 7015
    TIMEOUT = 7020
    OUT_OF_MEMORY = 7021
    BACKEND_UNREACHABLE = 7022
    BACKEND_ERROR = 7023
    OUTPUT_TRUNCATED = 7030
    PARSE_FAILED = 7031
    EMPTY_ANSWER = 7032
    POINT_OUT_OF_IMAGE = 7033
    PLAN_REFUSED = 7034
    STEP_FAILED = 7035
    PREEMPTED = 7040
    CANCELLED = 7041


class MimoError(Exception):
    """Base of all errors of this package; the message names the cause and the remedy.

    The message can be sent and written as it is, and has no keys and passwords, whatever it was
    made of.
    ``raw_text`` and ``reasoning`` are what the model wrote so far, where the error concerns an
    answer; ``reply`` is the engine's reply, or in a client the action's result or the service's
    response, where there is one.
    ``cause`` is a few words that are the same for all errors of a kind, so that diagnostics can
    count them.
    """

    code = ResultCode.UNKNOWN
    raw_text: str = ''
    reasoning: str = ''
    reply: Any = None

    def __init__(self, message: str = '', *, cause: str = '') -> None:
        """Take the name of the code as the cause where none is given."""
        super().__init__(mask(valid_text(message)))
        self.cause = cause or self.code.name


class GoalRejectedError(MimoError):
    """The server did not accept the goal."""

    code = ResultCode.GOAL_REJECTED


class SendGoalError(MimoError):
    """No server took the request in time, or the one that had it was lost before the end."""

    code = ResultCode.SEND_GOAL_FAILURE


class ModelNotReadyError(MimoError):
    """No model is loaded, or it could not be loaded."""

    code = ResultCode.MODEL_NOT_READY


class QueueFullError(MimoError):
    """Too many requests are waiting already."""

    code = ResultCode.QUEUE_FULL


class InvalidRequestError(MimoError):
    """A field of the request or a parameter is out of its range."""

    code = ResultCode.INVALID_REQUEST


class NoImageError(MimoError):
    """No image has arrived from the requested camera."""

    code = ResultCode.NO_IMAGE


class StaleImageError(MimoError):
    """The newest image is older than the request allows."""

    code = ResultCode.STALE_IMAGE


class BadEncodingError(MimoError):
    """An image message whose encoding, size or data cannot be read."""

    code = ResultCode.BAD_ENCODING


class NoCameraInfoError(MimoError):
    """3D positions are requested and the camera's intrinsics are unknown."""

    code = ResultCode.NO_CAMERA_INFO


class NoDepthError(MimoError):
    """3D positions are requested and there is no depth image for the frame."""

    code = ResultCode.NO_DEPTH


class TransformError(MimoError):
    """The transform to the requested frame is not known."""

    code = ResultCode.TF_ERROR


class RequestTimeoutError(MimoError):
    """The deadline passed before the answer was complete."""

    code = ResultCode.TIMEOUT


class OutOfMemoryError(MimoError):
    """The device has too little memory for the model or the request."""

    code = ResultCode.OUT_OF_MEMORY


class BackendUnreachableError(MimoError):
    """A remote model server does not answer."""

    code = ResultCode.BACKEND_UNREACHABLE


class BackendError(MimoError):
    """The model failed while it answered."""

    code = ResultCode.BACKEND_ERROR


class OutputTruncatedError(MimoError):
    """The token limit was reached before the answer was complete."""

    code = ResultCode.OUTPUT_TRUNCATED


class ParseError(MimoError):
    """The model answered, but not in a form that the task allows."""

    code = ResultCode.PARSE_FAILED


class EmptyAnswerError(MimoError):
    """The model wrote nothing after its reasoning."""

    code = ResultCode.EMPTY_ANSWER


class PointOutOfImageError(MimoError):
    """The model named a place that is not in the image."""

    code = ResultCode.POINT_OUT_OF_IMAGE


class PlanRefusedError(MimoError):
    """A step that the robot's skills do not allow."""

    code = ResultCode.PLAN_REFUSED


class StepFailedError(MimoError):
    """A step of a plan failed, and the executor's policy gives up."""

    code = ResultCode.STEP_FAILED


class PreemptedError(MimoError):
    """A more urgent request or a shutdown took the place of this request."""

    code = ResultCode.PREEMPTED


class CancelledError(MimoError):
    """The caller cancelled the request."""

    code = ResultCode.CANCELLED


def error_of(code: int, message: str) -> MimoError:
    """Return the exception for a result's ``error_code`` and ``error_msg``.

    Codes that are not of this package give a plain ``MimoError``.
    """
    kind = next((kind for kind in MimoError.__subclasses__() if kind.code == code), MimoError)
    return kind(message)
