"""Recorded bags: what is in one, and playing it into topics as ``ros2 bag play`` does."""

from .player import BagPlayer, PlaybackProgress
from .reader import BagInfo, BagTopic, describe

__all__ = ['BagInfo', 'BagPlayer', 'BagTopic', 'PlaybackProgress', 'describe']
