"""A client of the node in the manner of Nav2's BasicNavigator, blocking and for asyncio."""

from .client import MimoClient
from .request import Request

__all__ = ['MimoClient', 'Request']
