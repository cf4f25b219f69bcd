"""The proxy on the way to a server, from the variables that other programs read, too."""

from __future__ import annotations

import ipaddress
import os
import socket
from importlib.util import find_spec
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx2

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.masking import hide

_SCHEMES = ('http', 'https', 'socks5', 'socks5h')


class ProxySetting(NamedTuple):
    """A proxy, and the name of the environment variable that asks for it."""

    variable: str
    proxy: httpx2.Proxy


def find_proxy(url: str) -> ProxySetting | None:
    """Return the proxy for a server: of ``http_proxy`` or ``https_proxy``, else ``all_proxy``.

    Names in lower case come before those in upper case. This host needs no proxy, and ``no_proxy``
    lists hosts, domains and networks that need none either.

    Args:
        url: of the server.

    Raises:
        InvalidRequestError: the variable holds nothing that can be used.

    """
    parts = urlsplit(url)
    host = parts.hostname or ''
    port = parts.port or {'http': 80, 'https': 443}[parts.scheme]
    if _is_this_host(host) or _is_exempt(host, port):
        return None
    for scheme in (parts.scheme, 'all'):
        for variable in (f'{scheme}_proxy', f'{scheme}_proxy'.upper()):
            if value := os.environ.get(variable, '').strip():
                proxy = _proxy(variable, value, host)
                hide(proxy.auth[1] if proxy.auth else '')
                return ProxySetting(variable, proxy)
    return None


def _proxy(variable: str, value: str, host: str) -> httpx2.Proxy:
    # messages do not repeat the value, which may hold a password
    value = value if '://' in value else f'http://{value}'
    remedy = f'correct it, unset it, or add {host} to no_proxy'
    try:
        parts = urlsplit(value)
        proxy = httpx2.Proxy(value) if parts.scheme in _SCHEMES else None
        is_url = bool(parts.hostname) and parts.port != 0 and len(value.split()) == 1
    except (ValueError, httpx2.InvalidURL):
        is_url = False
    if not is_url:
        raise InvalidRequestError(
            f'the environment variable {variable} holds no URL of a proxy, which is like '
            f'http://127.0.0.1:3128; {remedy}')
    if proxy is None:
        raise InvalidRequestError(
            f'the environment variable {variable} asks for a proxy with {parts.scheme}://, which '
            f'is none of {", ".join(_SCHEMES)}; {remedy}')
    if parts.scheme.startswith('socks') and not find_spec('socksio'):
        raise InvalidRequestError(
            f'the environment variable {variable} asks for a SOCKS proxy, which needs the package '
            f'socksio; run `pip install socksio`, or {remedy}')
    return proxy


def _is_this_host(host: str) -> bool:
    host = host.rstrip('.')
    if host == 'localhost' or host.endswith('.localhost'):
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host is given by, also in forms like 127.1; None for a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            return None
    return getattr(address, 'ipv4_mapped', None) or address


def _is_exempt(host: str, port: int) -> bool:
    """Whether ``no_proxy`` lists the host, its domain or its network."""
    address = _address(host)
    for entry in (os.environ.get('no_proxy') or os.environ.get('NO_PROXY') or '').split(','):
        listed = entry.strip().lower()
        try:
            network = ipaddress.ip_network(listed.strip('[]'), strict=False)
        except ValueError:
            name, colon, number = listed.partition(':')
            name = name.lstrip('*').lstrip('.')
            here = not colon or number == str(port)
            if listed == '*' or (name and here and f'.{host}'.endswith(f'.{name}')):
                return True
        else:
            if address is not None and address in network:
                return True
    return False
