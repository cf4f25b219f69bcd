"""Recorded bags: reading what is in a bag, and playing it as ``ros2 bag play`` does."""

from .player import BagPlayer, PlaybackProgress
from .reader import BagInfo, BagTopic, describe, read_messages

__all__ = ['BagInfo', 'BagPlayer', 'BagTopic', 'PlaybackProgress', 'describe', 'read_messages']
