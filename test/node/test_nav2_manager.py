"""The node under the lifecycle manager of nav2, as its sources lead a node and watch its bond.

``nav2_lifecycle_manager`` comes with a ROS distribution only; :class:`LifecycleManager` does what
it does.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState

from mimo_embodied_ros import action
from support.paths import ROOT
from support.robot import Robot, remote
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from support.openai_server import Server

NAME = 'mimo_embodied'  # in node_names
EXPECTED = {
    Transition.TRANSITION_CONFIGURE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_CLEANUP: State.PRIMARY_STATE_UNCONFIGURED,
    Transition.TRANSITION_ACTIVATE: State.PRIMARY_STATE_ACTIVE,
    Transition.TRANSITION_DEACTIVATE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: State.PRIMARY_STATE_FINALIZED,
}


class LifecycleManager:
    """What nav2's manager sends, and what it concludes from the answers.

    Attributes:
        bond: with the node, from its activation on; None where bondpy is not installed.

    """

    def __init__(self, ros: Any, namespace: str = '') -> None:
        self.ros, self.bond = ros, None
        self.node = ros.node('lifecycle_manager', namespace=namespace)
        self._change_state = self.node.create_client(ChangeState, f'{NAME}/change_state')
        self._get_state = self.node.create_client(GetState, f'{NAME}/get_state')
        assert self._get_state.wait_for_service(WAIT_S)

    def change(self, number: int) -> bool:
        """It does not look whether the service succeeded, but at the state."""
        self._call(self._change_state, ChangeState.Request(transition=Transition(id=number)))
        if self._call(self._get_state, GetState.Request()).current_state.id != EXPECTED[number]:
            return False
        if number == Transition.TRANSITION_DEACTIVATE:
            self.end_bond()
        return number != Transition.TRANSITION_ACTIVATE or self._form_bond()

    def _call(self, client: Any, request: Any) -> Any:
        future = client.call_async(request)
        self.ros.wait_for(future.done)
        return future.result()

    def startup(self) -> bool:
        return (self.change(Transition.TRANSITION_CONFIGURE)
                and self.change(Transition.TRANSITION_ACTIVATE))

    def reset(self) -> bool:
        """Go on where a step fails, as after a broken bond."""
        done = [self.change(number) for number in (
            Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)]
        self.end_bond()
        return all(done)

    def shutdown(self) -> bool:
        return self.reset() and self.change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)

    def _form_bond(self) -> bool:
        """Form a bond, as its ``createBondConnection`` does."""
        try:
            from bondpy import bondpy
        except ImportError:
            return True
        self.bond = bondpy.Bond(self.node, 'bond', NAME)
        self.bond.heartbeat_timeout = 2.0
        self.bond.start()
        return bool(self.ros.wait_for(
            lambda: self.bond.sm.getState().getName() == 'SM.Alive'))

    def end_bond(self) -> None:
        bond, self.bond = self.bond, None

        def end() -> None:
            bond.shutdown()
            self.node.destroy_subscription(bond.sub)
            self.node.destroy_publisher(bond.pub)

        if bond is not None:
            self.ros.call(end)


def test_a_node_is_led_by_the_manager(ros: Any, server: Server) -> None:
    remote(ros, server)
    manager = LifecycleManager(ros)
    assert manager.startup()
    for number in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):
        assert manager.change(number)  # what it calls pause and resume
    assert manager.reset()
    assert manager.startup()
    assert manager.shutdown()
    manager.end_bond()


def test_a_node_that_started_by_itself_is_not_the_managers(ros: Any, server: Server) -> None:
    robot = remote(ros, server).start()
    manager = LifecycleManager(ros)
    assert not manager.startup()
    assert robot.node.state == State.PRIMARY_STATE_ACTIVE


def test_a_lost_model_is_loaded_again_when_the_manager_starts_over(ros: Any) -> None:
    robot, manager = Robot(ros), LifecycleManager(ros)
    assert manager.startup()
    ros.wait_for(lambda: robot.camera.get_subscription_count() == 1)
    robot.see()
    robot.node.engine.close()  # as if its device had gone
    assert robot.ask(action.Ask, 'ask', question='What do you see?').result.error_code
    ros.wait_for(lambda: robot.node.state == State.PRIMARY_STATE_UNCONFIGURED)
    if manager.bond is not None:
        ros.wait_for(manager.bond.is_broken)  # by which it notices
    assert not manager.reset()
    assert manager.startup()
    ros.wait_for(lambda: robot.camera.get_subscription_count() == 1)
    robot.see()
    assert robot.ask(action.Ask, 'ask', question='What do you see?').result.error_code == 0
    manager.end_bond()


def test_the_bond_is_that_of_nav2s_nodes(ros: Any, server: Server) -> None:
    pytest.importorskip('bondpy', reason='bondpy is not installed')
    from bond.msg import Status

    robot = remote(ros, server, bond_heartbeat_period=0.05)
    heard: list[Any] = []
    robot.other.create_subscription(Status, '/bond', heard.append, 10)
    manager = LifecycleManager(ros)
    assert manager.startup()
    assert manager.bond is not None
    instances = set()
    for _ in range(2):
        own = manager.bond.instance_id
        ros.wait_for(lambda o=own: any(s.instance_id != o and s.active for s in heard))
        beat = next(s for s in heard if s.instance_id != own)
        assert (beat.id, round(beat.heartbeat_period, 3)) == (NAME, 0.05)
        instances.add(beat.instance_id)
        assert manager.change(Transition.TRANSITION_DEACTIVATE)
        ros.wait_for(lambda: robot.node.count_publishers('/bond') == 0)
        heard.clear()
        assert manager.change(Transition.TRANSITION_ACTIVATE)
    assert len(instances) == 2
    assert not manager.bond.is_broken()
    ros.call(robot.node.trigger_deactivate)  # without the manager
    ros.wait_for(manager.bond.is_broken)
    manager.end_bond()


def test_without_a_period_there_is_no_bond(ros: Any, server: Server) -> None:
    robot = remote(ros, server, bond_heartbeat_period=0.0).start()
    assert robot.node.count_publishers('/bond') == 0


PROGRAM = """
from mimo_embodied_ros.node.lifecycle_node import main
raise SystemExit(main([
    '--ros-args', '-p', 'backend:=openai', '-p', 'model:=mimo', '-p', 'servers:=["{url}"]',
    '-p', 'autostart:=false', '-p', "grounding_test:='off'"]))
"""


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGKILL])
def test_the_bond_breaks_with_the_process(ros: Any, server: Server, how: int) -> None:
    pytest.importorskip('bondpy', reason='bondpy is not installed')
    from bond.msg import Status

    node = subprocess.Popen(
        [sys.executable, '-c', PROGRAM.format(url=server.url)], env=ros.environment,
        cwd=ROOT / 'test',  # not where the sources would be imported
        stderr=subprocess.PIPE, text=True)
    try:
        manager = LifecycleManager(ros)
        assert manager.startup()
        assert manager.bond is not None
        own, beats = manager.bond.instance_id, list[Any]()
        manager.node.create_subscription(
            Status, 'bond', lambda s: beats.append(s) if s.instance_id != own else None, 10)
        ros.wait_for(lambda: len(beats) > 3)  # bondpy counts from the second one
        node.send_signal(how)
        _, printed = node.communicate(timeout=WAIT_S)
        assert node.returncode == (0 if how == signal.SIGINT else -how)
        assert 'Traceback' not in printed
        ros.wait_for(manager.bond.is_broken)
        manager.end_bond()
    finally:
        node.kill()
        node.communicate()
