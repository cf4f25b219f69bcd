"""A call of a service, as its client has it."""

from __future__ import annotations

from typing import Any

from .request import Request


class ServiceCall(Request):
    """A call under way; a server does not learn that it was cancelled."""

    def _is_server_there(self) -> bool:
        return bool(self._client.service_is_ready())

    def _send(self) -> None:
        self._client.call_async(self._message).add_done_callback(self._on_response)

    def _is_accepted(self) -> bool:
        return False  # a service tells nothing before its response

    def _on_response(self, future: Any) -> None:
        self.end(future.result())
