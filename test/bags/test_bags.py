"""Bags written with rosbags, described and played through real publishers and subscribers."""

from __future__ import annotations

import array
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from builtin_interfaces.msg import Time
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import Header, Int32, String

from mimo_embodied_ros.bags import BagPlayer, PlaybackProgress, describe
from mimo_embodied_ros.core.errors import InvalidRequestError
from support.bags import ABSENT, START_NS, numbers, write_bag
from support.waiting import WAIT_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.ros import Ros

class Listener:
    """A subscriber that keeps messages and when they arrived."""

    def __init__(self, ros: Ros, kind: type[Any], topic: str, latched: bool = False) -> None:
        """Subscribe reliably, with room for a whole test."""
        self.heard: list[Any] = []
        self.times: list[float] = []
        qos = QoSProfile(depth=1000)
        if latched:
            qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
        node = ros.node(f'listener{id(self)}')
        node.create_subscription(kind, topic, self._listen, qos)

    def _listen(self, message: Any) -> None:
        self.times.append(time.monotonic())
        self.heard.append(message)


@pytest.mark.parametrize('storage', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_describe(tmp_path: Path, storage: StoragePlugin) -> None:
    messages = [
        *numbers('/few', 2, 2.5),
        *numbers('/many', 5, 0.1, first_s=0.5),
        ('/map', 0.25, String(data='x')),
        ('/thing', 0.25, b'\0\1\0\0\0\0\0\0'),
    ]
    path = write_bag(tmp_path / 'bag', messages, latched=['/map'], storage=storage)
    file = next(path.glob('bag.*'))
    for given_path in (path, str(path), file):
        info = describe(given_path)
        assert [(each.name, each.type, each.count, each.latched) for each in info.topics] == [
            ('/few', 'std_msgs/msg/Int32', 2, False),
            ('/many', 'std_msgs/msg/Int32', 5, False),
            ('/map', 'std_msgs/msg/String', 1, True),
            ('/thing', ABSENT, 1, False),
        ]
        assert info.start_ns == START_NS
        assert info.duration_s == pytest.approx(2.5)
        assert info.count == 9
        assert [each.name for each in info.of_type('std_msgs/msg/Int32')] == ['/many', '/few']
        assert info.of_type('sensor_msgs/msg/Image') == ()


def test_describe_an_empty_bag(tmp_path: Path) -> None:
    info = describe(write_bag(tmp_path / 'bag', []))
    assert (info.count, info.duration_s, info.topics) == (0, 0.0, ())


def test_messages_arrive_unchanged_in_order_and_in_time(ros: Ros, tmp_path: Path) -> None:
    bag = write_bag(
        tmp_path / 'bag',
        [*numbers('/count', 200, 0.01), ('/name', 1.0, String(data='späť'))],
    )
    counts, names = Listener(ros, Int32, '/count'), Listener(ros, String, '/name')
    with BagPlayer(bag, ros.node('player')) as player:
        assert player.wait_for_subscribers(WAIT_S)
        begin = time.monotonic()
        assert player.play() == 201
        assert 1.99 <= time.monotonic() - begin < WAIT_S / 2
        ros.wait_for(lambda: len(counts.heard) == 200 and names.heard)
    assert [each.data for each in counts.heard] == list(range(200))
    assert names.heard[0].data == 'späť'
    late = [arrived - begin - i * 0.01 for i, arrived in enumerate(counts.times)]
    assert min(late) >= 0
    # a busy machine may hold up some, but no delay adds up: the first comes as late as the last
    assert sorted(late)[100] < 0.5


def test_rate(ros: Ros, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', numbers('/count', 5, 100.0))
    with BagPlayer(bag, ros.node('player'), rate=800) as player:
        begin = time.monotonic()
        assert player.play() == 5
        assert 0.5 <= time.monotonic() - begin < WAIT_S / 2


def test_one_bag_can_be_played_again(ros: Ros, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', numbers('/count', 3, 0.01))
    ear = Listener(ros, Int32, '/count')
    with BagPlayer(bag, ros.node('player')) as player:
        assert player.wait_for_subscribers(WAIT_S)
        assert player.play() == player.play() == 3
        ros.wait_for(lambda: len(ear.heard) == 6)


def test_large_images_go_through(ros: Ros, tmp_path: Path) -> None:
    pixels = array.array('B', bytes(range(256)) * (1920 * 1080 * 3 // 256))
    image = Image(height=1080, width=1920, step=5760, encoding='rgb8', data=pixels)
    image.header = Header(stamp=Time(sec=5), frame_id='camera')
    bag = write_bag(tmp_path / 'bag', [('/image', i * 0.3, image) for i in range(3)])
    ear = Listener(ros, Image, '/image')
    with BagPlayer(bag, ros.node('player')) as player:
        assert player.wait_for_subscribers(WAIT_S)
        player.play()
        ros.wait_for(lambda: len(ear.heard) == 3)
    assert all(each == image for each in ear.heard)


def test_latched_topics_reach_a_late_subscriber(ros: Ros, tmp_path: Path) -> None:
    messages = [('/map', 0, String(data='m')), ('/other', 0, String(data='o'))]
    bag = write_bag(tmp_path / 'bag', messages, latched=['/map'])
    with BagPlayer(bag, ros.node('player')) as player:
        player.play()
        ear, other = (Listener(ros, String, name, latched=True) for name in ('/map', '/other'))
        ros.wait_for(lambda: ear.heard)
        assert ear.heard[0].data == 'm'
        assert not other.heard


def test_loop_ends_with_stop(ros: Ros, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', numbers('/count', 2, 0.1))
    ear = Listener(ros, Int32, '/count')
    reports = []
    with BagPlayer(
        bag, ros.node('player'), rate=5, loop=True, on_progress=reports.append
    ) as player:
        assert player.wait_for_subscribers(WAIT_S)
        thread = threading.Thread(target=player.play)
        begin = time.monotonic()
        thread.start()
        ros.wait_for(lambda: len(ear.heard) >= 6)
        # a pass lasts a second of bag time, however short the bag is
        assert ear.times[4] - begin >= 0.4
        player.stop()
        thread.join(WAIT_S)
    assert [each.data for each in ear.heard[:6]] == [0, 1] * 3
    assert reports[-1].passes >= 3


def test_stop_is_quick_in_a_long_pause(ros: Ros, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', numbers('/count', 2, 3600))
    with BagPlayer(bag, ros.node('player')) as player:
        played = []
        thread = threading.Thread(target=lambda: played.append(player.play()))
        thread.start()
        wait_for(lambda: player._messages == 1)
        player.stop()
        thread.join(WAIT_S)
        assert played == [1]
        assert player.play() == 0


def test_the_shutdown_of_the_context_ends_playing(ros: Ros, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', numbers('/count', 2, 3600))
    player = BagPlayer(bag, ros.node('player'))
    thread = threading.Thread(target=player.play)
    thread.start()
    wait_for(lambda: player._messages == 1)
    ros.context.shutdown()
    thread.join(WAIT_S)
    assert not thread.is_alive()


def time_of(message: Clock) -> int:
    return message.clock.sec * 10**9 + message.clock.nanosec


def test_clock(ros: Ros, tmp_path: Path) -> None:
    recorded = Clock(clock=Time(sec=3))
    bag = write_bag(tmp_path / 'bag', [*numbers('/count', 2, 2.0), ('/clock', 0.5, recorded)])
    ear = Listener(ros, Clock, '/clock')
    with BagPlayer(bag, ros.node('player'), clock=True, rate=2) as player:
        clock = player._clock
        assert clock is not None
        ros.wait_for(clock.get_subscription_count)
        assert player.play() == 2
        ros.wait_for(lambda: ear.heard and time_of(ear.heard[-1]) - START_NS > 1.8e9)
    stamps = [time_of(each) for each in ear.heard]
    assert stamps == sorted(stamps)
    assert stamps[0] - START_NS < 1e9
    assert stamps[-1] - START_NS <= 2e9
    assert 5 < len(stamps) <= 41


def test_no_message_is_from_the_future(
    ros: Ros, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = Publisher.publish
    now_s, sent_s = [-1.0], []

    def overhear(publisher: Publisher, message: Any) -> None:
        if isinstance(message, Clock):
            now_s.append(message.clock.sec + message.clock.nanosec / 1e9 - START_NS / 1e9)
        elif isinstance(message, bytes):  # of the bag
            sent_s.append(now_s[-1])
        publish(publisher, message)

    monkeypatch.setattr(Publisher, 'publish', overhear)
    bag = write_bag(tmp_path / 'bag', numbers('/count', 20, 0.06))
    with BagPlayer(bag, ros.node('player'), clock=True, rate=10) as player:
        player.play()  # the clock ticks once in 0.25 s of the bag
    assert len(sent_s) == 20
    assert all(at >= 0.06 * index - 1e-6 for index, at in enumerate(sent_s))


def test_progress(ros: Ros, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', numbers('/count', 3, 0.25))
    reports = []
    with BagPlayer(bag, ros.node('player'), on_progress=reports.append) as player:
        player.play()
    assert reports[-1] == PlaybackProgress(position_s=0.5, duration_s=0.5, messages=3, passes=1)
    positions = [each.position_s for each in reports]
    assert positions == sorted(positions)
    assert 4 <= len(reports) <= 7


def test_topics_can_be_chosen_and_renamed(ros: Ros, tmp_path: Path) -> None:
    messages = [(name, 0, String(data=name)) for name in ('/a', '/b', '/c')]
    bag = write_bag(tmp_path / 'bag', messages)
    ears = {name: Listener(ros, String, name) for name in ('/a', '/r/a', '/camera', '/r/c', '/c')}
    with BagPlayer(
        bag, ros.node('player'), topics=['/a', '/b'], remap={'/b': '/camera'}, prefix='/r'
    ) as player:
        assert player.wait_for_subscribers(WAIT_S)
        assert player.play() == 2
        ros.wait_for(lambda: ears['/r/a'].heard and ears['/camera'].heard)
    assert {name for name, ear in ears.items() if ear.heard} == {'/r/a', '/camera'}
    assert ears['/camera'].heard[0].data == '/b'


def test_types_that_are_not_installed_are_left_out(ros: Ros, tmp_path: Path) -> None:
    thing = b'\0\1\0\0\0\0\0\0'
    bag = write_bag(
        tmp_path / 'bag', [('/x', 0, thing), ('/y', 0, thing), ('/name', 0, String(data='n'))]
    )
    with BagPlayer(bag, ros.node('player')) as player:
        assert player.play() == 1
        assert player.skipped == dict.fromkeys(('/x', '/y'), f'the type {ABSENT} is not installed')
    with pytest.raises(InvalidRequestError, match=f'no message that can be played: .*{ABSENT}'):
        BagPlayer(bag, ros.node('other'), topics=['/x'])


def test_waiting_for_subscribers_ends(ros: Ros, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', [('/a', 0, String()), ('/b', 0, String())])
    ear = Listener(ros, String, '/a')
    with BagPlayer(bag, ros.node('player')) as player:
        assert player.wait_for_subscribers(WAIT_S, ['/a'])
        assert not player.wait_for_subscribers(0.1)
        player.stop()
        assert not player.wait_for_subscribers(3600)
    assert not ear.heard


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        ({'rate': 0}, 'rate is 0'),
        ({'rate': -1.0}, 'rate is -1.0'),
        ({'rate': float('nan')}, 'rate is nan'),
        ({'rate': float('inf')}, 'rate is inf'),
        ({'topics': ['/camera']}, 'has no topic /camera; it has /count'),
        ({'remap': {'/camera': '/x'}}, 'has no topic /camera; it has /count'),
        ({'remap': {'/count': 'not a name'}}, "/count cannot be played as 'not a name'"),
        ({'topics': []}, 'no message that can be played'),
    ],
)
def test_options_that_make_no_sense_are_refused(
    ros: Ros, tmp_path: Path, options: dict[str, Any], text: str
) -> None:
    bag = write_bag(tmp_path / 'bag', numbers('/count', 2, 0.1))
    node = ros.node('player')
    with pytest.raises(InvalidRequestError, match=text):
        BagPlayer(bag, node, **options)
    assert [each.topic for each in node.publishers if 'count' in each.topic] == []


def missing(path: Path) -> Path:
    return path / 'nothing'


def other_file(path: Path) -> Path:
    file = path / 'picture.png'
    file.write_bytes(b'png')
    return file


def ros1(path: Path) -> Path:
    file = path / 'old.bag'
    file.write_bytes(b'#ROSBAG V2.0\n')
    return file


def other_directory(path: Path) -> Path:
    return path


def without_metadata(path: Path) -> Path:
    bag = write_bag(path / 'bag', numbers('/count', 2, 0.1))
    (bag / 'metadata.yaml').unlink()
    return bag


def without_storage(path: Path) -> Path:
    bag = write_bag(path / 'bag', numbers('/count', 2, 0.1))
    (bag / 'bag.mcap').unlink()
    return bag


def bad_metadata(path: Path) -> Path:
    bag = write_bag(path / 'bag', numbers('/count', 2, 0.1))
    (bag / 'metadata.yaml').write_text('rosbag2_bagfile_information: [}')
    return bag


def metadata_of_another(path: Path) -> Path:
    write_bag(path / 'other', numbers('/other', 2, 0.1))
    bag = write_bag(path / 'bag', numbers('/count', 2, 0.1))
    (path / 'other' / 'other.mcap').rename(bag / 'bag.mcap')
    return bag


def compressed_messages(path: Path) -> Path:
    bag = write_bag(path / 'bag', numbers('/count', 2, 0.1), compress=CompressionMode.MESSAGE)
    assert describe(bag).count == 2
    return bag / 'bag.mcap'


def truncated(path: Path) -> Path:
    file = write_bag(path / 'bag', numbers('/count', 2, 0.1)) / 'bag.mcap'
    file.write_bytes(file.read_bytes()[:-100])
    return file


def nothing_in_it(path: Path) -> Path:
    file = path / 'empty.mcap'
    file.touch()
    return file


def broken_database(path: Path) -> Path:
    file = path / 'bag.db3'
    file.write_bytes(b'SQLite format 3\0' + bytes(200))
    return file


@pytest.mark.parametrize(
    ('make', 'text'),
    [
        (missing, 'nothing does not exist: give the directory of a bag'),
        (other_file, r'picture\.png is not a bag: give the directory of a bag'),
        (ros1, r'old\.bag is a bag of ROS 1: .*rosbags-convert --src .*old\.bag --dst .*old"'),
        (other_directory, r'no metadata\.yaml: give the directory of a bag'),
        (without_metadata, r'no metadata\.yaml: give one of its files \(bag\.mcap\)'),
        (without_storage, r'lists bag\.mcap, which the folder does not have'),
        (bad_metadata, 'is not the YAML that a recorder writes'),
        (metadata_of_another, r'metadata\.yaml lists messages of /count .*reindex'),
        (compressed_messages, 'compressed one by one.*give the directory'),
        (truncated, 'cannot be read as a bag .*magic.*mcap recover'),
        (nothing_in_it, r'empty\.mcap is empty'),
        (broken_database, 'cannot be read as a bag'),
    ],
)
def test_a_path_that_is_no_bag_is_refused_with_the_remedy(
    ros: Ros, tmp_path: Path, make: Callable[[Path], Path], text: str
) -> None:
    path = make(tmp_path)
    for use in (describe, lambda each: BagPlayer(each, ros.node('player'))):
        with pytest.raises(InvalidRequestError, match=text):
            use(path)


def test_an_empty_bag_cannot_be_played(ros: Ros, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match='no message that can be played'):
        BagPlayer(write_bag(tmp_path / 'bag', []), ros.node('player'))


def test_damage_in_the_middle_ends_playing_with_an_error(ros: Ros, tmp_path: Path) -> None:
    # several compressed chunks, the last of which is broken
    blob = array.array('B', range(256)) * 3000
    image = Image(height=1, width=1, step=1, encoding='mono8', data=blob)
    bag = write_bag(
        tmp_path / 'bag',
        [('/x', i * 0.01, image) for i in range(8)],
        compress=CompressionMode.STORAGE,
    )
    data = bytearray((bag / 'bag.mcap').read_bytes())
    position = data.rfind(b'\x28\xb5\x2f\xfd')  # the magic of a zstd frame
    data[position + 8 : position + 40] = bytes(32)
    (bag / 'bag.mcap').write_bytes(data)
    played = []
    with BagPlayer(bag, ros.node('player'), on_progress=played.append) as player:
        with pytest.raises(InvalidRequestError, match='cannot be read as a bag'):
            player.play()
        assert player._messages >= 2


@pytest.fixture(scope='module')
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a small bag without damage."""
    path = write_bag(
        tmp_path_factory.mktemp('sound') / 'bag',
        [*numbers('/count', 5, 0.1), ('/map', 0.1, String(data='m'))],
        latched=['/map'],
        compress=CompressionMode.STORAGE,
    )
    return (path / 'bag.mcap').read_bytes()


@settings(
    max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    damage=st.lists(
        st.tuples(st.integers(0, 10**5), st.binary(min_size=1, max_size=8)), max_size=5
    ),
    lost=st.just(0) | st.integers(0, 2000),
)
def test_any_damage_is_read_or_refused(
    sound: bytes, tmp_path: Path, damage: list[tuple[int, bytes]], lost: int
) -> None:
    data = bytearray(sound[: len(sound) - lost])
    for anywhere, replacement in damage:
        if data:
            position = anywhere % len(data)
            data[position : position + len(replacement)] = replacement
    file = tmp_path / 'damaged.mcap'
    file.write_bytes(data)
    try:
        info = describe(file)
    except InvalidRequestError as error:
        assert 'damaged.mcap' in str(error)
    else:
        assert info.duration_s >= 0
