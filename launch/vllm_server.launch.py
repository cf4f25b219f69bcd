"""Start a vLLM server for the node: ``ros2 launch mimo_embodied_ros vllm_server.launch.py``.

vLLM does not come with this package: ``pip install vllm``, best into an environment of its own,
and ``vllm:=`` names its program. docs/remote.md says more.
"""

from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from launch import LaunchContext, LaunchDescription

# What is run: name, default, description.
PROGRAM = (
    ('vllm', 'vllm', 'Program of vLLM, with its path where the shell does not find it.'),
    ('model', 'XiaomiMiMo/MiMo-Embodied-7B', 'Folder or hub name of the model.'),
)
# The flag of the same name; without a value vLLM decides.
FLAGS = (
    ('served_model_name', 'XiaomiMiMo/MiMo-Embodied-7B', 'What the nodes call the model.'),
    ('host', '127.0.0.1', 'Address to listen on; 0.0.0.0 for robots elsewhere.'),
    ('port', '8000', 'Port to listen on.'),
    ('dtype', 'bfloat16', 'Of the weights; float16 overflows in this model.'),
    ('max_model_len', '32768', 'Tokens of prompt and answer together.'),
    ('limit_mm_per_prompt', '{"image": 6, "video": 0}', 'Most images in one request.'),
    ('mm_processor_kwargs', '{"max_pixels": 3211264}', 'Largest image, at least that of nodes.'),
    ('generation_config', 'vllm', 'vllm: no penalty that a checkpoint may suggest.'),
    ('gpu_memory_utilization', '0.85', 'Share of the memory of each GPU to take.'),
    ('tensor_parallel_size', '1', 'GPUs that share the weights.'),
    ('distributed_executor_backend', '', 'mp or ray.'),
)


def _start(context: LaunchContext) -> list[ExecuteProcess]:
    """The server. No reasoning parser: <think> is no token of this model; the node splits it."""
    command = [LaunchConfiguration('vllm'), 'serve', LaunchConfiguration('model')]
    for name, *_ in FLAGS:
        if value := LaunchConfiguration(name).perform(context):
            command += [f'--{name.replace("_", "-")}', value]
    return [ExecuteProcess(cmd=command, output='screen')]


def generate_launch_description() -> LaunchDescription:
    """Arguments and the server."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, default, text in (*PROGRAM, *FLAGS)
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_start)])
