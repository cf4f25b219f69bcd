"""The node ``simulation``: the camera over the simulated tabletop, and the gripper's action.

It publishes ``camera/image_raw``, ``camera/camera_info`` and ``camera/depth/image_rect`` with the
same stamp, and serves ``gripper/run_skill`` with the skills pick and place.
"""

from __future__ import annotations

import array
from typing import TYPE_CHECKING, Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from mimo_embodied_ros.action import RunSkill
from mimo_embodied_ros.core.errors import ResultCode, TransformError
from mimo_embodied_ros.geometry.extrinsics import load_extrinsics
from mimo_embodied_ros.ros.images import encode_image
from mimo_embodied_ros.ros.simulated_motion import simulate_motion
from mimo_embodied_ros.share import share_folder
from mimo_embodied_ros.worlds.table_camera import HEIGHT, MATRIX, OPTICAL_FRAME, WIDTH
from mimo_embodied_ros.worlds.tabletop import Tabletop

if TYPE_CHECKING:
    from pathlib import Path

    from rclpy.action.server import ServerGoalHandle

FRAME = 'base_link'
RATE = 5.0
"""Images per second."""
FAILED = 1
"""``error_code`` of a skill that the gripper failed to do."""


def extrinsics_file() -> Path:
    """Path of the camera's pose, which the node ``mimo_embodied`` needs as well."""
    return share_folder() / 'config' / 'extrinsics' / 'tabletop.yaml'


class Simulation(Node):
    """A tabletop with a camera and a gripper.

    Attributes:
        table: the simulated tabletop; `reset` replaces it.
        motion_s: how long a skill takes, seconds; infinite: until it is cancelled.

    """

    table: Tabletop
    _server: ActionServer | None = None

    def __init__(
        self, name: str = 'simulation', *, seed: int = 0, drop: float = 0.2, **options: Any
    ) -> None:
        """Set the table, and begin to publish.

        Args:
            name: name of the node.
            seed: seed of the scene.
            drop: probability that a thing slips out during a pick or a place.
            options: more arguments of rclpy's Node.

        """
        super().__init__(name, **options)
        self._extrinsics = load_extrinsics(extrinsics_file())
        self._drop, self._moving, self.motion_s = drop, False, 0.3
        self._image = self.create_publisher(Image, 'camera/image_raw', 1)
        self._depth = self.create_publisher(Image, 'camera/depth/image_rect', 1)
        self._info = self.create_publisher(CameraInfo, 'camera/camera_info', 1)
        self.reset(seed)
        self.create_timer(1 / RATE, self._publish)
        self._server = ActionServer(
            self, RunSkill, 'gripper/run_skill', self._execute,
            cancel_callback=lambda _: CancelResponse.ACCEPT)

    def destroy_node(self) -> None:
        """Destroy the action server, too."""
        if self._server is not None:  # else it could not be made
            self._server.destroy()
        super().destroy_node()

    def reset(self, seed: int) -> None:
        """Set another table; may be called from any thread while the gripper does nothing."""
        camera = self._extrinsics.lookup(FRAME, OPTICAL_FRAME, 0)
        self.table = Tabletop(seed, camera, self._drop)

    def _publish(self) -> None:
        # the stamp is taken before the table: an image must not look newer than it is
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=OPTICAL_FRAME)
        table = self.table
        self._info.publish(CameraInfo(
            header=header, height=HEIGHT, width=WIDTH, distortion_model='plumb_bob',
            d=[0.0] * 5, k=MATRIX, r=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
            p=(*MATRIX[:3], 0.0, *MATRIX[3:6], 0.0, *MATRIX[6:], 0.0)))
        self._depth.publish(Image(
            header=header, height=HEIGHT, width=WIDTH, encoding='16UC1', step=2 * WIDTH,
            data=array.array('B', table.depth.tobytes())))
        self._image.publish(encode_image(table.pixels, header))

    async def _execute(self, handle: ServerGoalHandle) -> RunSkill.Result:
        if self._moving:
            handle.abort()
            return RunSkill.Result(
                error_code=FAILED, error_msg='the gripper is doing another skill; wait for its end')
        self._moving = True
        try:
            handle.publish_feedback(RunSkill.Feedback(text=_words(handle.request)))
            await simulate_motion(self, handle, self.motion_s)
            if handle.is_cancel_requested:
                handle.canceled()
                return RunSkill.Result(
                    error_code=int(ResultCode.CANCELLED), error_msg='the motion was cancelled')
            problem = self._do(handle.request)
        finally:
            self._moving = False
        self._publish()  # before the result, so that a look after it shows what was done
        if problem:
            handle.abort()
            return RunSkill.Result(error_code=FAILED, error_msg=problem)
        handle.succeed()
        return RunSkill.Result()

    def _do(self, goal: RunSkill.Goal) -> str:
        """Do a skill where the goal says; return the problem, or ''."""
        skills = {'pick': (self.table.pick, goal.object_at),
                  'place': (self.table.place, goal.place_at)}
        if goal.skill not in skills:
            return f'there is no skill {goal.skill!r}; the gripper can {" and ".join(skills)}'
        run_skill, target = skills[goal.skill]
        if not target.header.frame_id:
            return f'the goal does not say where to {goal.skill}; give a point and its frame'
        try:
            to_base = self._extrinsics.lookup(FRAME, target.header.frame_id, 0)
        except TransformError as error:
            return str(error)
        return run_skill(to_base.apply([target.point.x, target.point.y, target.point.z]))


def _words(goal: RunSkill.Goal) -> str:
    return ' '.join(filter(None, (goal.skill, goal.object, goal.place and f'at {goal.place}')))
