"""A managed node that answers while it is configured, and refuses what is not possible now."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from lifecycle_msgs.msg import State, Transition, TransitionDescription
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.task import Future

if TYPE_CHECKING:
    from collections.abc import Callable

    from lifecycle_msgs.srv import ChangeState, GetAvailableTransitions

# What may be asked for; the other transitions of rcl are the ends of these.
_LABELS = {'configure', 'cleanup', 'activate', 'deactivate', 'shutdown'}


class ManagedNode(LifecycleNodeMixin, Node):
    """A lifecycle node, for rclpy's executors of one thread.

    rclpy's own raises what it cannot do, which ends the process, and its executor waits for each
    transition. Here ``on_configure``, which may take minutes, runs in a thread when another node
    asks for it, or :meth:`change_state` is awaited; the other transitions run in the executor's.

    Attributes:
        stopping: set when ``on_configure`` is to end soon, and to return FAILURE.
        hanging: whether the process has to end without its threads, since one may never end.

    """

    # a node that could not be made is destroyed, too, by Kilted with its context
    hanging = False
    _configuring: threading.Thread | None = None

    def __init__(self, name: str, **options: Any) -> None:
        """Make the node; ``options`` are those of rclpy's Node."""
        self.stopping = threading.Event()
        Node.__init__(self, name, **options)
        # a call that waits for the end of a transition must not hold up others
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        self._configured = Future()
        self._service_change_state.callback = self._on_change_state
        self._service_get_available_transitions.callback = self._on_get_available_transitions

    @property
    def state(self) -> int:
        """The present state: a constant of ``lifecycle_msgs/State``."""
        return int(self._state_machine.current_state[0])

    async def change_state(self, transition: int, label: str = '') -> bool:
        """Make a transition; a shutdown ends a configuration under way.

        Args:
            transition: a constant of ``lifecycle_msgs/Transition``.
            label: of the transition, instead of the number.

        Returns:
            Whether it succeeded; False also where it is not possible in the present state.

        """
        possible = self._possible_transitions()
        found = [t.transition.label for t in possible
                 if (t.transition.label == label if label else t.transition.id == transition)]
        if not found:
            allowed = ', '.join(sorted({t.transition.label for t in possible})) or 'nothing'
            self.get_logger().warning(
                f'transition {label or transition} is not possible in the state '
                f'{self._state_machine.current_state[1]}, which allows {allowed}')
            return False
        if found == ['configure']:
            outcome = await self._configure_in_thread()
        elif found == ['shutdown']:
            outcome = await self._shut_down()
        else:
            outcome = getattr(self, f'trigger_{found[0]}')()
        return outcome is TransitionCallbackReturn.SUCCESS

    def in_executor(self, function: Callable[..., None], *arguments: Any) -> None:
        """Let the executor's thread call a function, as long as there is an executor."""
        if self.executor is not None:
            self.executor.create_task(function, *arguments)

    def end_configuring(self) -> None:
        """End a configuration under way, and wait for its end; to be called before the node's."""
        self.stopping.set()
        if self._configuring is not None:
            self._configuring.join()

    async def _configure_in_thread(self) -> TransitionCallbackReturn:
        self.stopping = threading.Event()
        self._configured = configured = Future(executor=self.executor)

        def configure() -> None:
            try:
                configured.set_result(self.trigger_configure())
            except Exception as error:
                configured.set_exception(error)
                if self.context.ok():  # else the process ends, and nothing can be published
                    raise
            finally:
                self.in_executor(_wake)

        self._configuring = threading.Thread(target=configure, name='configure', daemon=True)
        self._configuring.start()
        while self.state == State.PRIMARY_STATE_UNCONFIGURED and self._configuring.is_alive():
            time.sleep(0.001)  # else the next request would find the old state
        return await configured

    async def _shut_down(self) -> TransitionCallbackReturn:
        if self.state == State.TRANSITION_STATE_CONFIGURING:
            self.stopping.set()
            await self._configured
        if not self._possible_transitions():  # another request was quicker
            return TransitionCallbackReturn.FAILURE
        return self.trigger_shutdown()

    def _possible_transitions(self) -> list[TransitionDescription]:
        """What may be asked for in the present state."""
        if self.state == State.TRANSITION_STATE_CONFIGURING:
            return [_description(
                Transition.TRANSITION_UNCONFIGURED_SHUTDOWN, 'shutdown', self.state, 'configuring',
                State.TRANSITION_STATE_SHUTTINGDOWN, 'shuttingdown')]
        return [_description(*parts) for parts in self._state_machine.available_transitions
                if parts[1] in _LABELS]

    async def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        response.success = await self.change_state(request.transition.id, request.transition.label)
        return response

    def _on_get_available_transitions(
        self, _: GetAvailableTransitions.Request, response: GetAvailableTransitions.Response
    ) -> GetAvailableTransitions.Response:
        response.available_transitions = self._possible_transitions()
        return response


def _description(
    number: int, label: str, start: int, start_label: str, goal: int, goal_label: str
) -> TransitionDescription:
    return TransitionDescription(
        transition=Transition(id=number, label=label),
        start_state=State(id=start, label=start_label),
        goal_state=State(id=goal, label=goal_label))


def _wake() -> None:
    """Do nothing, so that the executor looks at what waits for a future."""
