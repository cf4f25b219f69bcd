"""The build as a robot has it: colcon, an install space, and what sourcing it makes visible."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mimo_embodied_ros
from support.paths import ROOT

PACKAGE = 'mimo_embodied_ros'
OUTPUTS = shutil.ignore_patterns(
    '.?*', 'build', 'install', 'log', 'test', '*_out', '*.egg-info', '__pycache__')


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a program with the environment variables of a new shell."""
    clean = {name: os.environ[name] for name in ('PATH', 'HOME', 'LANG') if name in os.environ}
    clean['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    return subprocess.run(
        [str(part) for part in command], env=clean, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)  # type: ignore[call-overload]


@pytest.fixture(scope='module')
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An install space that colcon has just made."""
    workspace = tmp_path_factory.mktemp('workspace')
    shutil.copytree(ROOT, workspace / 'src' / PACKAGE, ignore=OUTPUTS)
    colcon = Path(sys.executable).with_name('colcon')
    built = run(
        colcon, 'build', '--event-handlers', 'console_direct+', '--cmake-args',
        f'-DPython3_EXECUTABLE={sys.executable}', '-DBUILD_TESTING=OFF', cwd=workspace)
    assert built.returncode == 0, built.stdout[-5000:]
    return workspace / 'install'


def sourced(installed: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script of bash after the install space was sourced, far from the sources."""
    return run('bash', '-ec', f'source {installed}/local_setup.bash\n{script}', cwd=installed)


@pytest.mark.colcon
def test_interfaces_and_modules_come_from_the_install_space(installed: Path) -> None:
    done = sourced(installed, f"""{sys.executable} -c '
from rclpy.serialization import deserialize_message, serialize_message
from mimo_embodied_ros import __file__ as module, action, msg, srv
from mimo_embodied_ros.core.tasks import TASKS
plan = msg.TaskPlan(instruction="put the cube away", steps=[msg.TaskStep(action="pick up")])
assert deserialize_message(serialize_message(plan), msg.TaskPlan) == plan
assert TASKS
print(module, action.PlanTask.Goal.__name__, srv.GetTaskPlan.Request.__name__)'""")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(str(installed / PACKAGE))


@pytest.mark.colcon
def test_share_is_found_by_the_index(installed: Path) -> None:
    done = sourced(installed, f"""{sys.executable} -c '
from ament_index_python import get_package_share_directory
print(get_package_share_directory("mimo_embodied_ros"))'""")
    assert done.returncode == 0, done.stdout
    share = Path(done.stdout.strip())
    assert share == installed / PACKAGE / 'share' / PACKAGE
    source = installed.parent / 'src' / PACKAGE
    for folder in ('launch', 'config', 'gazebo', 'models', 'bags', 'msg', 'srv', 'action'):
        for file in (source / folder).rglob('*.*'):
            assert (share / file.relative_to(source)).read_bytes() == file.read_bytes()
    assert (share / 'package.xml').is_file()


@pytest.mark.colcon
@pytest.mark.parametrize(('program', 'arguments', 'says'), [
    ('mimo_embodied', '-p model:=/nowhere/model', 'MODEL_NOT_READY'),
    ('mimo_viewer', '-p jpeg_quality:=0', 'jpeg_quality'),
    ('mimo_executor', '', 'skills_file is empty'),
    ('mimo_memory', '-p file:=/proc/memory.db', '/proc/memory.db'),
])
def test_nodes_are_where_ros2_run_looks(
    installed: Path, program: str, arguments: str, says: str
) -> None:
    executable = installed / PACKAGE / 'lib' / PACKAGE / program
    done = sourced(installed, f'{executable} --ros-args {arguments}')
    assert done.returncode == 1
    assert says in done.stdout, done.stdout


@pytest.mark.colcon
def test_console_program_is_on_the_path(installed: Path) -> None:
    done = sourced(installed, 'command -v mimo-embodied; mimo-embodied --help')
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(str(installed / PACKAGE / 'bin'))
    assert 'COMMAND' in done.stdout


def test_one_version_everywhere() -> None:
    from importlib.metadata import version

    declared = re.search(r'<version>(.+)</version>', (ROOT / 'package.xml').read_text())
    assert declared is not None
    assert declared[1] == version(PACKAGE) == mimo_embodied_ros.__version__
