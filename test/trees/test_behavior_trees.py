"""The XML for BehaviorTree.CPP and Nav2, and the C++ of the docs, against the interface files."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import pytest

from mimo_embodied_ros import action, msg, srv
from support.documentation import code_blocks
from support.paths import CONFIG, DOCS, ROOT

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = CONFIG / 'behavior_trees'
MODEL = ET.parse(FOLDER / 'mimo_nodes.xml').getroot()  # noqa: S314, ours
TREES = [path for path in sorted(FOLDER.glob('*.xml')) if path.stem != 'mimo_nodes']
ACTIONS = {path.stem: getattr(action, path.stem) for path in ROOT.glob('action/*.action')
           if path.stem != 'RunSkill'}  # the robot's own, called by the executor
NODES = {node.attrib['ID']: node for node in MODEL.find('TreeNodesModel') or ()}
OUTLETS = {'action_name', 'server_name', 'server_timeout'}  # no fields of the action
# Of BehaviorTree.CPP 4 itself: ports, and how many children there are.
NATIVE: dict[str, tuple[set[str], range]] = {
    'Sequence': (set(), range(1, 99)), 'Fallback': (set(), range(1, 99)),
    'RetryUntilSuccessful': ({'num_attempts'}, range(1, 2)),
    'Script': ({'code'}, range(1)), 'ScriptCondition': ({'code'}, range(1)),
}
CPP = {'string': 'std::string', 'boolean': 'bool', 'uint8': 'uint8_t', 'uint16': 'uint16_t',
       'uint32': 'uint32_t', 'double': 'double', 'builtin_interfaces/Duration': 'double'}


def ports(node: ET.Element) -> dict[str, ET.Element]:
    return {port.attrib['name']: port for port in node}


def cpp_types(ros_type: str) -> set[str]:
    """Return the C++ types that a port for a field of a ROS type may have."""
    if sequence := re.fullmatch(r'sequence<(.+)>', ros_type):
        return {f'{holder}<{kind}>' for kind in cpp_types(sequence[1])
                for holder in ('std::vector', 'BT::SharedQueue')}
    if ros_type in CPP:
        return {CPP[ros_type]}
    package, name = ros_type.split('/')
    return {f'{package}::msg::{name}'}


def field_type(message: Any, path: str) -> str:
    """The type of the field that a path leads to."""
    name, _, rest = path.partition('.')
    declared = message.get_fields_and_field_types()[name]
    return field_type(getattr(msg, declared.split('/')[1]), rest) if rest else declared


def path_of(port: ET.Element) -> str:
    return (port.text or '').partition(':')[0]


def test_every_action_is_a_node_and_every_node_is_known() -> None:
    assert ACTIONS.keys() == NODES.keys() - {'ReadStep', 'LoopStep', 'Recall'}
    assert MODEL.attrib == {'BTCPP_format': '4'}
    assert len(NODES) == len(MODEL.find('TreeNodesModel') or ())


@pytest.mark.parametrize('name', sorted(ACTIONS))
def test_ports_are_fields_of_the_action_with_fitting_types(name: str) -> None:
    kind, node = ACTIONS[name], NODES[name]
    assert node.tag == 'Action'
    assert len(ports(node)) == len(node)
    inputs = {n: p for n, p in ports(node).items() if p.tag == 'input_port'}
    outputs = {n: p for n, p in ports(node).items() if p.tag == 'output_port'}
    assert len(inputs) + len(outputs) == len(node)
    assert inputs.keys() > OUTLETS
    for port in [*(inputs[n] for n in inputs.keys() - OUTLETS), *outputs.values()]:
        message = kind.Goal if port.tag == 'input_port' else kind.Result
        assert port.attrib['type'] in cpp_types(field_type(message, path_of(port)))
    # fields that no port has are those that no tree can give or wants
    goal_fields = {path_of(inputs[n]) for n in inputs.keys() - OUTLETS}
    assert goal_fields == kind.Goal.get_fields_and_field_types().keys() - {
        'images', 'compressed_images'}
    result_fields = {path_of(port).split('.')[0] for port in outputs.values()}
    assert result_fields == kind.Result.get_fields_and_field_types().keys() - {'stats', 'raw_text'}
    for field, port in (('error_code', 'error_code_id'), ('error_msg', 'error_msg')):
        assert path_of(outputs[port]) == field


@pytest.mark.parametrize('name', sorted(ACTIONS))
def test_defaults_are_those_of_the_goal(name: str) -> None:
    goal = ACTIONS[name].Goal()
    needed = []
    for port in ports(NODES[name]).values():
        if port.tag != 'input_port' or port.attrib['name'] in OUTLETS:
            continue
        if 'default' not in port.attrib:
            needed.append(path_of(port))
            continue
        value = getattr(goal, path_of(port))
        written = {'bool': str(value).lower(), 'double': '0', 'std::string': value,
                   'std::vector<std::string>': ''}.get(port.attrib['type'], str(value))
        assert port.attrib['default'] == written
    assert needed in (['instruction'], ['query'], ['question'], ['plan'], [])
    assert needed or name == 'PlanDriving'


def test_ports_of_recall_are_fields_of_the_service() -> None:
    request, response = srv.Recall.Request(), srv.Recall.Response()
    fields: dict[str, set[str]] = {'input_port': set(), 'output_port': set()}
    for name, port in ports(NODES['Recall']).items():
        if name in {'service_name', 'server_timeout'}:
            continue
        message, field = request if port.tag == 'input_port' else response, path_of(port)
        assert port.attrib['type'] in cpp_types(field_type(message, field))
        fields[port.tag].add(field)
        if port.tag == 'input_port':
            is_number = port.attrib['type'] in {'double', 'uint32_t'}
            assert port.attrib['default'] == ('0' if is_number else '')
    assert fields['input_port'] == request.get_fields_and_field_types().keys() - {'pictures'}
    assert fields['output_port'] == response.get_fields_and_field_types().keys()


def test_the_nodes_for_steps_carry_steps() -> None:
    step = msg.TaskStep.get_fields_and_field_types()
    read, loop = ports(NODES['ReadStep']), ports(NODES['LoopStep'])
    for port in read.values():
        if port.tag == 'output_port':
            assert port.attrib['type'] in cpp_types(step[path_of(port)])
    assert read['step'].attrib['type'] == loop['value'].attrib['type']
    assert loop['queue'].attrib['type'] == ports(NODES['PlanTask'])['steps'].attrib['type']


def used(tree: ET.Element) -> list[ET.Element]:
    return [node for part in tree.findall('BehaviorTree') for node in part.iter() if node != part]


@pytest.mark.parametrize('path', TREES, ids=lambda path: path.name)
def test_trees_use_nodes_and_ports_of_the_model(path: Path) -> None:
    root = ET.parse(path).getroot()  # noqa: S314, ours
    assert root.attrib['BTCPP_format'] == '4'
    assert [part.attrib['ID'] for part in root.findall('BehaviorTree')] == [
        root.attrib['main_tree_to_execute']]
    (include,) = root.findall('include')
    assert (FOLDER / include.attrib['path']).is_file()
    own = {node.attrib['ID']: node for node in root.find('TreeNodesModel') or ()}
    assert not own.keys() & (NODES.keys() | NATIVE.keys())
    nodes = NODES | own
    for node in used(root):
        if node.tag in NATIVE:
            names, children = NATIVE[node.tag]
            assert node.attrib.keys() - {'name'} == names
            assert len(node) in children
            continue
        node_ports = ports(nodes[node.tag])
        assert len(node) == (nodes[node.tag].tag == 'Decorator')
        assert node.attrib.keys() - {'name'} <= node_ports.keys()
        needed = {n for n, p in node_ports.items()
                  if p.tag != 'output_port' and 'default' not in p.attrib}
        assert needed <= node.attrib.keys()
        for name, value in node.attrib.items():
            assert node_ports[name].tag == 'input_port' or re.fullmatch(r'\{\w+\}', value)
    assert own.keys() <= {node.tag for node in used(root)}
    assert {node.tag for node in used(root)} & ACTIONS.keys()


@pytest.mark.parametrize('path', TREES, ids=lambda path: path.name)
def test_entries_of_the_blackboard_have_one_type(path: Path) -> None:
    root = ET.parse(path).getroot()  # noqa: S314, ours
    nodes = NODES | {node.attrib['ID']: node for node in root.find('TreeNodesModel') or ()}
    types: dict[str, set[str]] = {}
    for node in used(root):
        for name, value in node.attrib.items():
            if value.startswith('{') and node.tag in nodes:
                types.setdefault(value, set()).add(ports(nodes[node.tag])[name].attrib['type'])
    assert all(len(kinds) == 1 for kinds in types.values()), types


def cpp_ports(text: str) -> dict[str, tuple[str, str]]:
    """Direction and type of the ports that C++ declares, by name."""
    declared = re.findall(r'BT::(In|Out)putPort<(.+?)>\("(\w+)"', text)
    return {name: (f'{way.lower()}put_port',
                   re.sub(r'(?<!:)\bmsg::', 'mimo_embodied_ros::msg::', kind))
            for way, kind, name in declared}


def test_the_cpp_of_the_docs_has_the_ports_of_the_model() -> None:
    blocks = code_blocks(DOCS / 'behaviour_trees.md', 'cpp')
    common, *classes = re.split(r'^class (?!Mimo)(?=\w+Node)', blocks[0], flags=re.MULTILINE)
    for text in classes:
        name = text[: text.index('Node')]
        assert f'MimoNode<action::{name}>' in text
        assert f'registerNodeType<{name}Node>("{name}", params)' in blocks[1]
        model = {n: (p.tag, p.attrib['type']) for n, p in ports(NODES[name]).items()
                 if n not in OUTLETS}
        assert cpp_ports(common) | cpp_ports(text) == model
        read = set(re.findall(r'(?:getInput|seconds)\("(\w+)"', common + text))
        written = set(re.findall(r'setOutput\("(\w+)"', common + text))
        assert read | written == model.keys()
    model = {n: (p.tag, p.attrib['type']) for n, p in ports(NODES['ReadStep']).items()}
    assert cpp_ports(blocks[1]) == model
    assert 'RosServiceNode<srv::Recall>' in blocks[2]
    model = {n: (p.tag, p.attrib['type']) for n, p in ports(NODES['Recall']).items()
             if n not in {'service_name', 'server_timeout'}}
    assert cpp_ports(blocks[2]) == model
    used_ports = re.findall(r'(?:getInput(?:<double>)?|setOutput)\("(\w+)"', blocks[2])
    assert set(used_ports) == model.keys()
    assert 'registerNodeType<RecallNode>("Recall", params)' in blocks[3]
    nav2 = cpp_ports(blocks[4])
    spatial = ports(NODES['AnswerSpatial'])
    assert nav2 == {n: (spatial[n].tag, spatial[n].attrib['type']) for n in nav2}
    (asks,) = ET.parse(FOLDER / 'mobile_base.xml').iter('AnswerSpatial')  # noqa: S314, ours
    assert asks.attrib.keys() <= nav2.keys() | OUTLETS
