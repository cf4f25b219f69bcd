"""A call of a service, as its client has it."""

from __future__ import annotations

from typing import Any

from .request import Request, error_in


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


class CodedCall(ServiceCall):
    """A call of a service of this package: an ``error_code`` in the response is its error."""

    def end(self, result: Any = None, error: Exception | None = None) -> None:
        """Take its response or error, unless it has ended."""
        if error is None and getattr(result, 'error_code', 0) != 0:
            error = error_in(self.name, result)
        super().end(result, error)
