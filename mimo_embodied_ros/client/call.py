"""A call of a service, as its client has it."""

from __future__ import annotations

from typing import Any

from .request import Request


class ServiceCall(Request):
    """A call under way; a server does not learn that it was cancelled, and goes on with it."""

    def _service_name(self) -> str:
        return self.name

    def _is_server_there(self) -> bool:
        return bool(self._client.service_is_ready())

    def _send(self) -> Any:
        return self._client.call_async(self._message)

    def _on_response(self, future: Any) -> None:
        if not future.cancelled():
            self._settled = True
            self.end(future.result())
