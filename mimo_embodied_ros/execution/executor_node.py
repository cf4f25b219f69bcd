"""The node ``mimo_executor``: executes plans of the robot's own skills, one at a time.

It serves ``~/execute_plan``, publishes its state on ``~/status`` and ``~/plan``, and pauses between
steps when ``~/pause`` asks for it. A goal that cannot be served is accepted and then aborted with
its error code, because a rejected goal cannot carry a reason.
"""

from __future__ import annotations

import threading
import traceback
from typing import TYPE_CHECKING, Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.task import Future
from std_srvs.srv import SetBool

from mimo_embodied_ros.action import ExecutePlan
from mimo_embodied_ros.client import MimoClient
from mimo_embodied_ros.core.errors import (
    CancelledError,
    InvalidRequestError,
    MimoError,
    QueueFullError,
    ResultCode,
)
from mimo_embodied_ros.core.files import reason
from mimo_embodied_ros.msg import ExecutionStatus, TaskPlan
from mimo_embodied_ros.program import run
from mimo_embodied_ros.ros import process
from mimo_embodied_ros.ros.parameters import read_table
from mimo_embodied_ros.ros.skill_interfaces import absent_endpoints, load_checked_skills

from .control import Control
from .executor import Execution, ExecutionConfig
from .executor_parameters import PARAMETERS
from .plan_state import PlanState, StateFile, is_over
from .policy import load_policy
from .progress_log import ProgressLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rclpy.action.server import ServerGoalHandle

NAME = 'mimo_executor'


class MimoExecutor(Node):
    """Executes plans with the robot's actions and services, and checks them by asking the model."""

    # a node that could not be made is destroyed, too, by Kilted with its context
    _control: Control | None = None  # of the plan under way
    _thread: threading.Thread | None = None
    _mimo: MimoClient | None = None
    _server: ActionServer | None = None

    def __init__(self, name: str = NAME, **options: Any) -> None:
        """Read the skills and the policy, and open the servers.

        Raises:
            InvalidRequestError: a parameter, or a file that one names, is wrong.

        """
        super().__init__(name, **options)
        settings = read_table(self, PARAMETERS)
        if not settings['skills_file']:
            msg = 'skills_file is empty; name the skills file that the planning node has'
            raise InvalidRequestError(msg)
        skills = load_checked_skills(settings['skills_file'])
        self._config = ExecutionConfig(
            skills, load_policy(settings['policy_file'], skills), settings['target_frame'],
            settings['max_plans'], settings['settle'], settings['stand_off'],
            settings['check_goal'], settings['wait_for_model'], settings['memory'])
        self._state_file = StateFile(
            settings['state_file'], self.get_fully_qualified_name(), skills)
        self._waiting_for = ''  # why the plan under way waits for the model
        self._mimo = MimoClient(
            self, settings['node'], wait_s=settings['wait_for_server'],
            memory=settings['memory'] or 'mimo_memory')
        self._paused = False
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._status = self.create_publisher(ExecutionStatus, '~/status', 10)
        self._plan = self.create_publisher(TaskPlan, '~/plan', latched)
        self._server = ActionServer(self, ExecutePlan, '~/execute_plan', self._execute,
                                    cancel_callback=self._on_cancel)
        self.create_service(SetBool, '~/pause', self._on_pause)
        self._warn_of_interrupted_plan()
        # the robot starts beside this node, and it takes a while until it is seen
        self._endpoint_check = self.create_timer(
            settings['wait_for_server'], self._warn_of_absent_endpoints,
            clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy_node(self) -> None:
        """Cancel the plan under way and end its thread.

        The state file stays, so that another executor can resume the plan.
        """
        if self._control is not None:
            self._control.shut_down()
        if self._thread is not None:
            self._thread.join()
        if self._mimo is not None:
            self._mimo.close()
        if self._server is not None:
            self._server.destroy()
        super().destroy_node()

    def _warn_of_interrupted_plan(self) -> None:
        if old := self._state_file.old():
            self.get_logger().warning(old)
        if not self._state_file.exists():
            return
        try:
            instruction = self._state_file.load().instruction
        except InvalidRequestError as error:
            self.get_logger().warning(f'there is a plan that cannot be resumed: {error}')
        else:
            self.get_logger().warning(
                f'a plan was under way when the executor last ended: {instruction!r}; a goal with '
                'resume continues it, any other goal discards it')

    def _warn_of_absent_endpoints(self) -> None:
        """Say once which servers and topics of the skills are absent; they may still come."""
        self.destroy_timer(self._endpoint_check)
        if absent := absent_endpoints(self, self._config.skills):
            self.get_logger().warning(
                f'the skills need what is absent: {"; ".join(absent)}; start that before a step '
                'needs it')

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        if self._control is None:
            return CancelResponse.REJECT
        self._control.cancel()
        return CancelResponse.ACCEPT

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Pause before the next step, or go on; a step under way is done to its end."""
        self._paused = bool(request.data)
        if self._control is not None:
            self._control.pause(paused=self._paused)
        response.success = True
        response.message = ('the executor pauses before the next step' if self._paused
                            else 'the executor goes on')
        return response

    async def _execute(self, handle: ServerGoalHandle) -> ExecutePlan.Result:
        if self._control is not None:
            busy = QueueFullError(
                'the executor is executing another plan; wait for its end, or cancel it')
            return self._refuse(handle, busy)
        try:
            state = self._state_of(handle.request)
        except MimoError as error:
            return self._refuse(handle, error)
        self._control = control = Control()
        control.pause(paused=self._paused)
        log = ProgressLog(self.get_logger().info)
        self.get_logger().info(f'goal accepted: {state.instruction!r}')
        ended = Future(executor=self.executor)

        def report(state: PlanState, phase: int, step: Any, attempt: int, text: str) -> None:
            if not self.context.ok():  # all requests have failed for that reason alone
                msg = 'the executor was shut down'
                raise CancelledError(msg)
            if not control.shutting_down:  # else the cancelled step could not be resumed
                self._save(state)
            log.report(state.plans, step, attempt, text)
            self._report(handle, state, phase, step, attempt, text)

        assert self._mimo is not None
        execution = Execution(self._mimo, self._config, state, control, report)

        def work() -> None:
            error: Exception | None = None
            try:
                execution.run()
            except Exception as raised:  # noqa: BLE001 - it ends this plan alone
                error = raised
                if not isinstance(raised, MimoError):
                    self.get_logger().error(traceback.format_exc())
            ended.set_result(error)
            if self.executor is not None:
                self.executor.create_task(lambda: None)  # wakes the executor

        self._thread = threading.Thread(target=work, name='execution', daemon=True)
        self._thread.start()
        failure = await ended
        self._control = None
        cancelled = handle.is_cancel_requested and not control.shutting_down
        if cancelled or is_over(failure, execution.fault, resumed=handle.request.resume):
            self._delete_state()
        elif self._state_file.exists():
            self.get_logger().warning(
                f'the plan can be resumed, {self._state_file.path} stays: send a goal with resume')
        self._end_goal(handle, state, failure)
        return _result(state, failure)

    def _refuse(self, handle: ServerGoalHandle, error: Exception) -> ExecutePlan.Result:
        self.get_logger().warning(f'goal refused: {error}')
        handle.abort()
        return _result(PlanState(''), error)

    def _state_of(self, goal: ExecutePlan.Goal) -> PlanState:
        """The state that a goal begins from."""
        instruction = goal.instruction or goal.plan.instruction
        if goal.resume:
            state = self._state_file.load()
            if instruction and instruction != state.instruction:
                msg = (f'the plan to resume is of {state.instruction!r}, and the goal is '
                       f'{instruction!r}; leave the instruction empty, or do not resume')
                raise InvalidRequestError(msg)
            return state
        if not instruction:
            msg = 'the goal has neither an instruction nor a plan'
            raise InvalidRequestError(msg)
        state = PlanState(
            instruction, tuple(goal.cameras), goal.plan, int(bool(goal.plan.steps)))
        try:
            self._state_file.save(state)
        except OSError as error:
            msg = f'state_file cannot be written, {reason(error)}'
            raise InvalidRequestError(msg) from error
        return state

    def _save(self, state: PlanState) -> None:
        try:
            self._state_file.save(state)
        except OSError as error:
            self.get_logger().error(
                f'state_file cannot be written, so the plan could only be resumed from where it '
                f'was when that last succeeded: {reason(error)}', once=True)

    def _delete_state(self) -> None:
        try:
            self._state_file.delete()
        except OSError as error:
            self.get_logger().error(
                f'state_file cannot be deleted, so do not resume its plan: {reason(error)}')

    def _report(
        self, handle: ServerGoalHandle, state: PlanState, phase: int, step: Any, attempt: int,
        text: str,
    ) -> None:
        status = ExecutionStatus(
            plan_id=state.plan.plan_id, phase=phase, attempt=attempt, plans=state.plans,
            text=text)
        status.header.stamp = self.get_clock().now().to_msg()
        if step is not None:
            status.step_id, status.step_status = step.id, step.status
        waiting_for = text if phase == ExecutionStatus.WAITING else ''
        if waiting_for and not self._waiting_for:
            self.get_logger().warning(f'waiting for the model: {text}')
        self._waiting_for = waiting_for
        self._status.publish(status)
        self._plan.publish(state.plan)
        handle.publish_feedback(ExecutePlan.Feedback(status=status))

    def _end_goal(
        self, handle: ServerGoalHandle, state: PlanState, error: Exception | None
    ) -> None:
        if error is None:
            self.get_logger().info(f'{state.instruction!r} is done, with plan {state.plans}')
            handle.succeed()
            return
        self._report(handle, state, ExecutionStatus.ENDED, None, 0, str(error))
        if isinstance(error, CancelledError) and handle.is_cancel_requested:
            self.get_logger().info(f'{state.instruction!r} was cancelled')
            handle.canceled()
        else:
            self.get_logger().warning(f'{state.instruction!r} failed: {error}')
            handle.abort()


def _result(state: PlanState, error: Exception | None) -> ExecutePlan.Result:
    code = ResultCode.NONE if error is None else getattr(error, 'code', ResultCode.UNKNOWN)
    return ExecutePlan.Result(
        plan=state.plan, history=state.history, plans=state.plans, error_code=int(code),
        error_msg='' if error is None else str(error))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted; exit code 1 when it cannot start."""
    return process.run(MimoExecutor, NAME, args)


if __name__ == '__main__':
    run(main)
