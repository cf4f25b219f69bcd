"""Start a vLLM server for the node: ``ros2 launch mimo_embodied_ros vllm_server.launch.py``.

vLLM does not come with this package: ``pip install vllm``, best into an environment of its own, and
name its program with ``vllm:=``. See docs/remote.md.
"""

import shutil
from pathlib import Path

from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from launch import LaunchContext, LaunchDescription
from mimo_embodied_ros.launching import end_failed_launch, server_command

# The program: name, default, description.
PROGRAM = (
    ('vllm', 'vllm', 'Program of vLLM; with its path if it is not in PATH.'),
    ('model', 'XiaomiMiMo/MiMo-Embodied-7B', 'Folder or hub name of the model.'),
    ('more', '', 'Further arguments of vLLM, such as "--quantization fp8".'),
    ('respawn', 'true', 'Start the server again when it ends; false: its failure ends the launch.'),
)
# Flags of vLLM with the same names; without a value vLLM decides. One that is `true` has no value.
FLAGS = (
    ('served_model_name', 'XiaomiMiMo/MiMo-Embodied-7B', 'Name that the nodes use for the model.'),
    ('host', '127.0.0.1', 'Address to listen on; 0.0.0.0 for robots on other machines.'),
    ('port', '8000', 'Port to listen on.'),
    ('dtype', 'bfloat16', 'Type of the weights; float16 overflows in this model.'),
    ('max_model_len', '32768', 'Most tokens of prompt and answer together.'),
    ('limit_mm_per_prompt', '{"image": 6, "video": 6}', 'Most images and videos in one request.'),
    ('mm_processor_kwargs', '{"max_pixels": 3211264}',
     'Largest image; at least max_pixels of the nodes.'),
    ('trust_request_mm_kwargs', 'true',
     'Let requests say how their videos are read; empty where vLLM does not know this flag.'),
    ('generation_config', 'vllm', 'vllm: ignore penalties that a checkpoint suggests.'),
    ('gpu_memory_utilization', '0.85', 'Share of the memory of each GPU to use.'),
    ('tensor_parallel_size', '1', 'Number of GPUs that share the weights.'),
    ('distributed_executor_backend', '', 'How vLLM runs on several GPUs: mp or ray.'),
)

_ENDS_S = '20'  # for so long vLLM may end its processes in order; then all are killed


def _start(context: LaunchContext) -> list[ExecuteProcess]:
    """Start the server, and start it again when it ends; vLLM ends where its GPU's worker fails."""
    value = {name: LaunchConfiguration(name).perform(context) for name, *_ in (*PROGRAM, *FLAGS)}
    program = str(Path(value['vllm']).expanduser())
    if shutil.which(program) is None:
        msg = (f'there is no program {program}; run `pip install vllm`, best in an environment of '
               'its own, and give its path with vllm:=')
        raise FileNotFoundError(msg)
    flags = {name: value[name] for name, *_ in FLAGS}
    respawn = value['respawn'] == 'true'
    return [ExecuteProcess(
        cmd=server_command(program, value['model'], flags, value['more']), name='vllm',
        output='screen', respawn=respawn, respawn_delay=5.0, sigterm_timeout=_ENDS_S,
        on_exit=None if respawn else end_failed_launch)]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, and start the server."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, default, text in (*PROGRAM, *FLAGS)
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_start)])
