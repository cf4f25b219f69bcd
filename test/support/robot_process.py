"""A mock robot in a process of its own, which can be killed as the system kills one."""

from __future__ import annotations

import subprocess
import sys
from math import isinf
from typing import TYPE_CHECKING

from short_lease import short_lease

if TYPE_CHECKING:
    from pathlib import Path

    from support.ros import Ros

ACTION, SERVICE = '/head/run', '/head/rest'
SKILLS = f"""
nod:
  description: Nod.
  says: nod
  success: the robot has nodded
  runs:
    - action: {ACTION}
      type: mimo_embodied_ros/action/RunSkill
      goal: {{skill: nod}}
rest:
  description: Rest.
  says: rest
  success: the robot rests
  runs:
    - service: {SERVICE}
      type: std_srvs/srv/Trigger
      expect: {{success: true}}
      timeout: 600
"""
_LEASE_S = 2  # after which others miss a killed process, so that a test need not wait longer


class RobotProcess:
    """Serves ACTION and SERVICE; each action and each service goes on for ever, or for a while.

    One whose actions go on for ever is there to be killed, and is missed soon. The others keep the
    long lease of DDS: a busy machine may hold a process up for longer than the short one, and what
    it was sent is lost then.

    Attributes:
        skills: the file of its skills.

    """

    def __init__(self, ros: Ros, folder: Path, seconds: float = float('inf')) -> None:
        """Start to serve; actions and services take so long."""
        self.skills = folder / 'skills.yaml'
        self.skills.write_text(SKILLS)
        lease = short_lease(folder, _LEASE_S) if isinf(seconds) else {}
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'mimo_embodied_ros.execution.mock_robot', str(self.skills),
             '--duration', str(seconds), '--service-duration', str(seconds)],
            stderr=subprocess.PIPE, text=True, cwd=folder,
            env={**ros.environment, **lease})

    def wait_for_calls(self, number: int) -> None:
        """Wait until it has said of so many more calls that it was asked them."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            number -= f'{ACTION}: ' in line or f'{SERVICE}: ' in line
            if not number:
                return
        raise AssertionError('the robot has ended')

    def kill(self) -> None:
        """Kill it with SIGKILL, so that it says good-bye to nobody."""
        self._process.kill()
        self._process.communicate()
