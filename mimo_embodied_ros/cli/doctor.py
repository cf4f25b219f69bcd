"""``doctor``: check what is installed, and say what does not work without what is missing."""

from __future__ import annotations

import dataclasses
import importlib
import os
import platform
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError, MimoError
from mimo_embodied_ros.engine.checkpoint import check_memory, free_host_memory, open_checkpoint
from mimo_embodied_ros.engine.libraries import hide_notes
from mimo_embodied_ros.share import PACKAGE, embedded_model, install_command

from .model_options import add_model_options
from .output import model_argument, print_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

OK, ABSENT, RISKY, BROKEN = 'ok', 'absent', 'risky', 'broken'

# Modules that may be absent: module, name in PyPI, what does not work without it, and the remedy.
_OPTIONAL = (
    ('accelerate', 'accelerate', 'weights for a GPU pass through the memory of the machine first',
     'pip install accelerate'),
    ('peft', 'peft', 'no LoRA adapter can be put on a model', 'pip install peft'),
    ('bitsandbytes', 'bitsandbytes', 'weights cannot be loaded in 8 or 4 bit',
     'pip install bitsandbytes'),
    ('av', 'av', 'video files cannot be read or made', 'pip install av'),
)
_ROS_OPTIONAL = (
    ('tf2_ros', '3D positions are available only in the frame of the camera',
     'install ros-$ROS_DISTRO-tf2-ros-py'),
    ('launch_ros', '`ros2 launch` does not work; `mimo-embodied serve` does',
     'install ros-$ROS_DISTRO-launch-ros'),
)


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: what was checked.
        state: ok, absent (an optional part is missing), risky (it works, but not in all uses) or
            broken (a needed part does not work).
        found: version, size, or what is wrong.
        meaning: what does not work because of it; '' where the state is ok.
        remedy: what to do about it; '' where the state is ok or the meaning says it.

    """

    name: str
    state: str
    found: str
    meaning: str = ''
    remedy: str = ''


def add_commands(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        'doctor', help='check the installation, and whether a model is complete, fits, and points '
                       'at the right places',
        description='Check what is installed, how much memory the GPU has, and whether a model is '
                    'complete and fits into it; with --model or --url also ask it where things in '
                    'drawn pictures are; without --model, the only one of a server. Say what to '
                    'do about problems. Nothing is downloaded. '
                    'Exit code 1 if something that is needed does not work.',
        epilog='examples: mimo-embodied doctor --model /models/MiMo-Embodied-7B; mimo-embodied '
               'doctor --url http://127.0.0.1:8000/v1')
    command.add_argument('examined', type=model_argument, nargs='?', default='', metavar='MODEL',
                         help='folder or hub name of a model whose files are checked, and which is '
                              'not loaded (default: the embedded one)')
    add_model_options(command)
    command.add_argument('--skills', default='', metavar='YAML',
                         help="also check the calls of a file of the robot's skills")
    command.add_argument('--json', action='store_true', help='all findings as JSON')
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print each finding as it comes; return 1 if one is broken."""
    findings = []
    if options.examined and (options.model or options.url):
        raise InvalidRequestError('two models are named; give MODEL, or --model or --url')
    for finding in _all(options):
        findings.append(finding)
        if not options.json:
            print(_line(finding), flush=True)
    healthy = all(finding.state != BROKEN for finding in findings)
    if options.json:
        report = {'ok': healthy, 'findings': [dataclasses.asdict(finding) for finding in findings]}
        print_json(report)
    return 0 if healthy else 1


def _all(options: argparse.Namespace) -> Iterator[Finding]:
    if options.url:
        findings = [*_libraries_of_server()]
        yield from findings
        if options.skills:
            yield _skills(options.skills)
        if findings[-1].state == BROKEN:
            return
    else:
        yield from examine(options.examined or options.model, options.skills)
    if options.model or options.url:
        from .doctor_grounding import ask_models

        for name, right, found in ask_models(options):
            yield Finding(name, OK, found) if right else Finding(name, BROKEN, '', found)


def _libraries_of_server() -> Iterator[Finding]:
    """Check what a robot needs whose model is on a server."""
    yield Finding('Python', OK, platform.python_version())
    yield from _ros()
    finding = _module('httpx2', 'httpx2', 'no server can be asked', install_command('remote'))
    yield dataclasses.replace(finding, state=OK if finding.state == OK else BROKEN)


def _line(finding: Finding) -> str:
    mark = finding.state.upper() if finding.state == BROKEN else finding.state
    parts = (f'{finding.name} {finding.found}'.strip(), finding.meaning, finding.remedy)
    return f'{mark:7s} {"; ".join(filter(None, parts))}'


def examine(model: str, skills: str = '') -> Iterator[Finding]:
    """Run all checks, the quick ones first.

    Args:
        model: folder or hub name of a model; '': the embedded model.
        skills: path of a file of skills; '': none.

    """
    hide_notes()
    yield Finding('Python', OK, platform.python_version())
    yield from _ros()
    engine = [
        _module('torch', 'torch', 'no model runs in this process', 'pip install torch'),
        _module('transformers', 'transformers', 'no model runs in this process',
                install_command('model')),
        _module('safetensors', 'safetensors', 'no model can be read', 'pip install safetensors'),
    ]
    if all(finding.state == OK for finding in engine):  # incompatible versions show here
        used = _module(f'{PACKAGE}.engine.transformers_engine', PACKAGE,
                       'no model runs in this process',
                       install_command('model'))
        engine.append(dataclasses.replace(used, name='engine'))
    for finding in engine:  # these are needed, so absent means broken
        needed = dataclasses.replace(finding, state=OK if finding.state == OK else BROKEN)
        yield _release(needed) if finding.name == 'transformers' else needed
    for module, package, meaning, remedy in _OPTIONAL:
        yield _module(module, package, meaning, remedy)
    torch_works = engine[0].state == OK
    if torch_works:
        yield from _gpus()
    if engine[2].state == OK:
        yield from _model(model, on_gpu=torch_works)
    if skills:
        yield _skills(skills)


def _module(module: str, package: str, meaning: str, remedy: str) -> Finding:
    """Check that a module imports; one that is installed and does not import is broken."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module:
            return Finding(module, ABSENT, '', meaning, remedy)
        return Finding(module, BROKEN, f'does not import ({error})', meaning, remedy)
    except Exception as error:  # noqa: BLE001 libraries fail in their own ways on import
        return Finding(module, BROKEN, f'does not import ({error})', meaning, remedy)
    try:
        return Finding(module, OK, version(package))
    except PackageNotFoundError:
        return Finding(module, OK, '')


def _release(transformers: Finding) -> Finding:
    """Name a release of transformers that is known to put images at wrong positions."""
    if transformers.state != OK or not re.match(r'5\.[345]\.', transformers.found):
        return transformers
    return dataclasses.replace(
        transformers, state=RISKY,
        meaning='this release multiplies the temporal start of images (5.3.0 to 5.5.3) and videos '
                '(to 5.5.4) by tokens_per_second: models of this class find worse places, without '
                'an error, in `transformers serve` and in code that calls `generate`; this package '
                'computes its own positions',
        remedy=install_command('model'))


def _ros() -> Iterator[Finding]:
    """Check ROS, the interfaces, and the parts of a ROS distribution that pip does not have."""
    remedy = 'source /opt/ros/DISTRO/setup.bash, or run `make setup` in this repository'
    rclpy = _module('rclpy', 'rclpy', 'the ROS node, `serve`, `play` and `demo` do not run', remedy)
    if rclpy.state == OK:
        named = os.environ.get('ROS_DISTRO', '')
        rclpy = dataclasses.replace(rclpy, name='ROS 2', found=f'{named} rclpy'.strip())
    yield rclpy
    if rclpy.state != OK:
        return
    interfaces = _module(
        f'{PACKAGE}.msg', PACKAGE, 'the node does not start',
        'build the package with colcon or `pip install .`, and run from another folder')
    yield dataclasses.replace(
        interfaces, name='interfaces', state=OK if interfaces.state == OK else BROKEN)
    from mimo_embodied_ros.ros.colour_conversion import colour_converter

    bridge = colour_converter().__module__.startswith('cv_bridge')
    yield Finding('cv_bridge', OK, '') if bridge else Finding(
        'cv_bridge', ABSENT, '', 'images are decoded by rosbags-image',
        'if that is too slow, install ros-$ROS_DISTRO-cv-bridge')
    for module, meaning, how in _ROS_OPTIONAL:
        yield _module(module, module, meaning, how)


def _gpus() -> Iterator[Finding]:
    """Report the memory of each GPU that torch can use."""
    import torch

    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        yield Finding(
            f'GPU cuda:{index}', OK, f'{torch.cuda.get_device_name(index)}, {free / 1e9:.1f} GB '
            f'free of {total / 1e9:.1f} GB, CUDA {torch.version.cuda}')
    if not torch.cuda.device_count():
        built = f'CUDA {torch.version.cuda}' if torch.version.cuda else 'CPUs only'
        yield Finding(
            'GPU', ABSENT, f'(torch is built for {built})',
            'the embedded model is fast without a GPU, the 7B model is slow',
            'if there is a GPU, install its driver and a torch that fits')


def _model(model: str, *, on_gpu: bool) -> Iterator[Finding]:
    """Check that a model's files are complete, and that its weights fit into the memory."""
    try:
        checkpoint = open_checkpoint(model or embedded_model(), download=False)
    except MimoError as error:
        yield Finding('model', BROKEN, model, str(error))
        return
    yield Finding('model', OK, f'{checkpoint.name}, complete, {checkpoint.floats / 1e9:.3g} '
                  f'billion weights in {checkpoint.directory}')
    width, free, where = 4, free_host_memory(), 'this machine'
    if on_gpu:
        import torch

        if torch.cuda.device_count():  # as device and dtype 'auto' are
            width, free, where = 2, torch.cuda.mem_get_info(0)[0], 'GPU cuda:0'
    needed = f'{checkpoint.weight_bytes(width) / 1e9:.3g} GB'
    try:
        check_memory(checkpoint, width, free, where)
    except MimoError as error:
        yield Finding('memory', BROKEN, f'{free / 1e9:.1f} GB', str(error))
    else:
        yield Finding('memory', OK, f'{needed} for the weights, {free / 1e9:.1f} GB free on '
                      f'{where}; answers need more')


def _skills(path: str) -> Finding:
    """Check a file of skills, and its calls against the types that are installed here."""
    try:
        from mimo_embodied_ros.ros.skill_interfaces import load_checked_skills

        skills = load_checked_skills(path)
    except MimoError as error:
        return Finding('skills', BROKEN, path, str(error))
    except ImportError as error:
        return Finding('skills', BROKEN, path, f'ROS 2 has their types, and is absent: {error}')
    return Finding('skills', OK, f'{", ".join(skills)}: all calls and conditions fit their types')
