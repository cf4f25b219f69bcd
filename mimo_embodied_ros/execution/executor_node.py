"""The node ``mimo_executor``: does plans of the robot's own skills, one at a time.

It serves ``~/execute_plan``, says on ``~/status`` and ``~/plan`` where it is, and stops between
steps while ``~/pause`` says so. A goal that cannot be served is accepted and aborted with its error
code, because a rejected goal cannot carry a reason.
"""

from __future__ import annotations

import threading
import traceback
from typing import TYPE_CHECKING, Any

from rclpy.action import ActionServer, CancelResponse
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
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.msg import ExecutionStatus, TaskPlan
from mimo_embodied_ros.ros import process
from mimo_embodied_ros.ros.parameters import read_table

from .control import Control
from .executor import Config, Execution
from .executor_parameters import PARAMETERS
from .plan_state import PlanState, StateFile
from .policy import load_policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rclpy.action.server import ServerGoalHandle

NAME = 'mimo_executor'


class MimoExecutor(Node):
    """Does plans with the robot's actions and services, and asks ``mimo_embodied`` about them."""

    def __init__(self, name: str = NAME, **options: Any) -> None:
        """Read the skills and the policy, and open the servers.

        Raises:
            InvalidRequestError: a parameter, or a file that one names, is wrong.

        """
        super().__init__(name, **options)
        settings = read_table(self, PARAMETERS)
        if not settings['skills_file']:
            msg = 'skills_file is empty; name the list of skills that the node which plans has'
            raise InvalidRequestError(msg)
        skills = load_skills(settings['skills_file'])
        self._config = Config(
            skills, load_policy(settings['policy_file'], skills), settings['target_frame'],
            settings['max_plans'], settings['settle'], settings['stand_off'],
            settings['check_goal'])
        self._state = StateFile(settings['state_file'])
        self._mimo = MimoClient(self, settings['node'], wait_s=settings['wait_for_server'])
        self._control: Control | None = None  # of the plan under way
        self._thread: threading.Thread | None = None
        self._paused = False
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._status = self.create_publisher(ExecutionStatus, '~/status', 10)
        self._plan = self.create_publisher(TaskPlan, '~/plan', latched)
        self._server = ActionServer(self, ExecutePlan, '~/execute_plan', self._execute,
                                    cancel_callback=self._on_cancel)
        self.create_service(SetBool, '~/pause', self._on_pause)
        self._tell_what_waits()

    def destroy_node(self) -> None:
        """Cancel what is under way, and leave no thread behind.

        What is on disk stays there, so that another executor can go on.
        """
        if self._control is not None:
            self._control.leave()
        if self._thread is not None:
            self._thread.join()
        self._mimo.close()
        self._server.destroy()
        super().destroy_node()

    def _tell_what_waits(self) -> None:
        try:
            waiting = self._state.load().instruction
        except InvalidRequestError:
            return
        self.get_logger().warning(
            f'a plan was under way when the executor ended: {waiting!r}; a goal with resume goes '
            'on with it, any other one forgets it')

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        if self._control is None:
            return CancelResponse.REJECT
        self._control.cancel()
        return CancelResponse.ACCEPT

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Stop before the next step, or go on; what the robot is doing is done to its end."""
        self._paused = bool(request.data)
        if self._control is not None:
            self._control.pause(paused=self._paused)
        response.success = True
        response.message = 'it stops before the next step' if self._paused else 'it goes on'
        return response

    async def _execute(self, handle: ServerGoalHandle) -> ExecutePlan.Result:
        if self._control is not None:
            busy = QueueFullError('the executor does another plan; wait for its end, or cancel it')
            handle.abort()
            return _result(PlanState(''), busy)
        try:
            progress = self._progress_of(handle.request)
        except (MimoError, OSError) as error:
            handle.abort()
            return _result(PlanState(''), error)
        self._control = control = Control()
        control.pause(paused=self._paused)
        ended = Future(executor=self.executor)

        def tell(progress: PlanState, phase: int, step: Any, attempt: int, text: str) -> None:
            if not control.left:  # the step that is cancelled then is to be gone on with
                self._save(progress)
            self._tell(handle, progress, phase, step, attempt, text)

        def work() -> None:
            error: Exception | None = None
            try:
                Execution(self._mimo, self._config, progress, control, tell).run()
            except Exception as raised:  # noqa: BLE001 - it ends this plan alone
                error = raised
                if not isinstance(raised, MimoError):
                    self.get_logger().error(traceback.format_exc())
            ended.set_result(error)
            if self.executor is not None:
                self.executor.create_task(lambda: None)  # so that it looks at what waits

        self._thread = threading.Thread(target=work, name='execution', daemon=True)
        self._thread.start()
        why = await ended
        self._control = None
        if not control.left:
            self._state.delete()
        self._say_end(handle, progress, why)
        return _result(progress, why)

    def _progress_of(self, goal: ExecutePlan.Goal) -> PlanState:
        """Where to begin."""
        if goal.resume:
            return self._state.load()
        instruction = goal.instruction or goal.plan.instruction
        if not instruction:
            msg = 'the goal has neither an instruction nor a plan'
            raise InvalidRequestError(msg)
        progress = PlanState(
            instruction, tuple(goal.cameras), goal.plan, int(bool(goal.plan.steps)))
        self._state.save(progress)
        return progress

    def _save(self, progress: PlanState) -> None:
        try:
            self._state.save(progress)
        except OSError as error:
            self.get_logger().error(
                f'state_file cannot be written, so this plan cannot go on after a restart: {error}',
                once=True)

    def _tell(
        self, handle: ServerGoalHandle, progress: PlanState, phase: int, step: Any, attempt: int,
        text: str,
    ) -> None:
        status = ExecutionStatus(
            plan_id=progress.plan.plan_id, phase=phase, attempt=attempt, plans=progress.plans,
            text=text)
        status.header.stamp = self.get_clock().now().to_msg()
        if step is not None:
            status.step_id, status.step_status = step.id, step.status
        self._status.publish(status)
        self._plan.publish(progress.plan)
        handle.publish_feedback(ExecutePlan.Feedback(status=status))

    def _say_end(
        self, handle: ServerGoalHandle, progress: PlanState, error: Exception | None
    ) -> None:
        if error is None:
            handle.succeed()
            return
        self._tell(handle, progress, ExecutionStatus.ENDED, None, 0, str(error))
        if isinstance(error, CancelledError) and handle.is_cancel_requested:
            handle.canceled()
        else:
            self.get_logger().warning(f'{progress.instruction!r} failed: {error}')
            handle.abort()


def _result(progress: PlanState, error: Exception | None) -> ExecutePlan.Result:
    code = ResultCode.NONE if error is None else getattr(error, 'code', ResultCode.UNKNOWN)
    return ExecutePlan.Result(
        plan=progress.plan, history=progress.history, plans=progress.plans, error_code=int(code),
        error_msg='' if error is None else str(error))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted; exit code 1 when it cannot start."""
    return process.run(MimoExecutor, NAME, args)


if __name__ == '__main__':
    raise SystemExit(main())
