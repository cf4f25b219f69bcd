"""The base of the behaviours that send a request, and how they read the blackboard."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from py_trees.behaviour import Behaviour
from py_trees.common import Access, Status

from mimo_embodied_ros.client import MimoClient
from mimo_embodied_ros.core.errors import InvalidRequestError, MimoError, ResultCode

if TYPE_CHECKING:
    from mimo_embodied_ros.client import Request

NAMESPACE = 'mimo'


class Asking(Behaviour):
    """Sends one request each time it begins; subclasses make it and judge its result."""

    client: MimoClient

    def __init__(
        self, name: str, writes: str, reads: tuple[str, ...] = (), namespace: str = NAMESPACE
    ) -> None:
        """Register the keys.

        Args:
            name: name of the behaviour.
            writes: key of the result.
            reads: further keys that it reads.
            namespace: namespace of all keys.

        """
        super().__init__(name)
        self.blackboard = self.attach_blackboard_client(namespace=namespace)
        for key in (writes, 'error_code', 'error_msg'):
            self.blackboard.register_key(key, Access.WRITE)
        for key in reads:
            self.blackboard.register_key(key, Access.READ)
        self._request: Request | None = None

    def setup(self, **kwargs: Any) -> None:
        """Take the client from the arguments of ``tree.setup``.

        Raises:
            InvalidRequestError: the arguments have no client.

        """
        if not isinstance(kwargs.get('client'), MimoClient):
            msg = f'{self.name} has no client; call setup(client=MimoClient(node)) of the tree'
            raise InvalidRequestError(msg)
        self.client = kwargs['client']

    def initialise(self) -> None:
        """Forget an earlier request and its error."""
        self._request = None
        self._say(ResultCode.NONE, '')

    def update(self) -> Status:
        """Send the request at the first tick, and judge its result once it has ended."""
        try:
            if self._request is None:
                self._request = self.begin()
            if not self._request.is_done():
                return Status.RUNNING
            return self.judge(self._request.result())
        except MimoError as error:
            code = getattr(error.reply, 'error_code', None)  # a robot's own code is kept
            self._say(code if isinstance(code, int) and code else error.code, str(error))
            return Status.FAILURE

    def terminate(self, new_status: Status) -> None:
        """Cancel the request under way."""
        if self._request is not None and not self._request.is_done():
            self._request.cancel()

    @abstractmethod
    def begin(self) -> Request:
        """Send the request."""

    @abstractmethod
    def judge(self, result: Any) -> Status:
        """Write the result to the blackboard, and return the status that it means."""

    def _say(self, code: int, text: str) -> None:
        self.blackboard.error_code, self.blackboard.error_msg = int(code), text
        self.feedback_message = text


def read_key(blackboard: Any, key: str) -> Any:
    """Return the value of a key.

    Raises:
        InvalidRequestError: it has none.

    """
    try:
        return blackboard.get(key)
    except KeyError:
        msg = f'the blackboard has no {blackboard.absolute_name(key)}; set it first'
        raise InvalidRequestError(msg) from None
