"""The way to a server: by a proxy that counts what comes by it, or past it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip('httpx2')

from mimo_embodied_ros.core.errors import BackendUnreachableError, InvalidRequestError
from mimo_embodied_ros.engine import openai_proxy
from mimo_embodied_ros.engine.openai_proxy import find_proxy
from support.openai_server import ANSWER, Handler, Server, connect
from support.prompts import make_prompt

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Server]

VARIABLES = [name for scheme in ('http', 'https', 'all', 'no')
             for name in (f'{scheme}_proxy', f'{scheme}_PROXY'.upper())]
NOWHERE = 'http://gpu1.invalid:8000/v1'  # a name that resolves to no address


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def proxy(serve: Serve) -> Server:
    """A proxy that answers in place of the server that it is asked for."""
    return serve(Handler.answer)


def place(server: Server) -> str:
    return server.url.removesuffix('/v1')


def ask(url: str) -> str:
    return connect(url).generate(make_prompt(), max_new_tokens=9).text


@pytest.mark.parametrize('variable', ['http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'])
@pytest.mark.parametrize('scheme', ['http://', ''])
def test_other_hosts_are_reached_by_the_proxy(
    proxy: Server, monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str
) -> None:
    monkeypatch.setenv(variable, place(proxy).replace('http://', scheme))
    assert ask(NOWHERE) == ANSWER
    assert [request.path for request in proxy.requests] == [f'{NOWHERE}/chat/completions']


@pytest.mark.parametrize('variable', ['http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'])
def test_this_host_is_reached_past_every_proxy(
    serve: Serve, proxy: Server, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, place(proxy))
    server = serve(Handler.answer)
    assert ask(server.url) == ANSWER
    assert ask(server.url.replace('127.0.0.1', 'localhost')) == ANSWER
    assert len(server.requests) == 2
    assert not proxy.requests


@pytest.mark.parametrize(('host', 'here'), [
    ('127.0.0.1', True), ('127.255.0.9', True), ('[::1]', True), ('localhost', True),
    ('LOCALHOST', True), ('localhost.', True), ('robot.localhost', True), ('127.1', True),
    ('[::ffff:127.0.0.1]', True), ('[0:0:0:0:0:0:0:1]', True), ('0.0.0.0', True),  # noqa: S104
    ('128.0.0.1', False), ('10.0.0.1', False), ('[fd00::1]', False), ('[::ffff:10.0.0.1]', False),
    ('localhost.example', False), ('127.0.0.1.example', False), ('mylocalhost', False),
])
def test_which_hosts_are_this_one(monkeypatch: pytest.MonkeyPatch, host: str, here: bool) -> None:
    monkeypatch.setenv('all_proxy', 'http://proxy.example:3128')
    assert (find_proxy(f'http://{host}:8000/v1') is None) is here


@pytest.mark.parametrize(('value', 'words'), [
    ('socks://127.0.0.1:1080', 'socks://'),
    ('socks4://127.0.0.1:1080', 'socks4://'),
    ('ftp://127.0.0.1:21', 'ftp://'),
    ('http://127.0.0.1:port', 'holds no URL'),
    ('127.0.0.1:port', 'holds no URL'),
    ('http://127.0.0.1:99999', 'holds no URL'),
    ('http://', 'holds no URL'),
    ('http://[::1', 'holds no URL'),
    ('://proxy', 'holds no URL'),
    ('http://me:hunter2@127.0.0.1:port', 'holds no URL'),
    ('http://a b:3128', 'holds no URL'),
])
@pytest.mark.parametrize('variable', ['ALL_PROXY', 'all_proxy', 'http_proxy', 'HTTP_PROXY'])
def test_a_proxy_that_cannot_be_used_is_one_sentence(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidRequestError) as caught:
        connect(NOWHERE)
    message = str(caught.value)
    assert f'variable {variable} ' in message
    assert words in message
    assert 'gpu1.invalid to no_proxy' in message
    assert 'hunter2' not in message
    assert '\n' not in message
    assert ask(serve(Handler.answer).url) == ANSWER  # this host needs none


def test_a_socks_proxy_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_proxy, 'find_spec', lambda _: None)
    monkeypatch.setenv('ALL_PROXY', 'socks5://127.0.0.1:1080')
    with pytest.raises(InvalidRequestError, match=r'ALL_PROXY asks for a SOCKS .*pip install'):
        connect(NOWHERE)


@pytest.mark.parametrize('name', ['no_proxy', 'NO_PROXY'])
@pytest.mark.parametrize(('listed', 'url', 'exempt'), [
    ('*', NOWHERE, True),
    ('gpu1.invalid', NOWHERE, True),
    ('other.example, .invalid', NOWHERE, True),
    ('*.invalid', NOWHERE, True),
    ('invalid', NOWHERE, True),
    ('GPU1.INVALID', NOWHERE, True),
    ('gpu1.invalid:8000', NOWHERE, True),
    ('gpu1.invalid:80', NOWHERE, False),
    ('gpu1.invalid:80', 'http://gpu1.invalid/v1', True),
    ('gpu1.invalid:443', 'https://gpu1.invalid/v1', True),
    ('pu1.invalid', NOWHERE, False),
    ('gpu1', NOWHERE, False),
    ('', NOWHERE, False),
    (', ,', NOWHERE, False),
    ('10.0.0.12', 'http://10.0.0.12:8000', True),
    ('10.0.0.12:8000', 'http://10.0.0.12:8000', True),
    ('10.0.0.0/8', 'http://10.0.0.12:8000', True),
    ('192.168.0.0/16', 'http://10.0.0.12:8000', False),
    ('fd00::/8', 'http://[fd00::1]:8000', True),
    ('[fd00::1]', 'http://[fd00::1]:8000', True),
    ('fd00::2', 'http://[fd00::1]:8000', False),
    ('10.0.0.0/33, gpu1.invalid', NOWHERE, True),
])
def test_no_proxy(
    monkeypatch: pytest.MonkeyPatch, name: str, listed: str, url: str, exempt: bool
) -> None:
    monkeypatch.setenv('all_proxy', 'http://proxy.example:3128')
    monkeypatch.setenv(name, listed)
    assert (find_proxy(url) is None) is exempt


def test_the_more_exact_variable_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('ALL_PROXY', 'all_proxy', 'HTTP_PROXY', 'http_proxy'):
        monkeypatch.setenv(name, f'http://{name.replace("_", "-")}:3128')
        found = find_proxy(NOWHERE)
        assert found is not None
        assert found.variable == name
    monkeypatch.setenv('https_proxy', 'nonsense:port')  # is not for this server
    assert find_proxy(NOWHERE) is not None
    monkeypatch.setenv('http_proxy', '')
    found = find_proxy(NOWHERE)
    assert found is not None
    assert found.variable == 'HTTP_PROXY'


def test_no_variable_is_no_proxy() -> None:
    assert find_proxy(NOWHERE) is None


def test_a_proxy_that_fails_is_named(proxy: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('https_proxy', place(proxy))
    with pytest.raises(BackendUnreachableError, match=r'by the proxy that https_proxy names.*403'):
        ask('https://gpu1.invalid/v1')
    assert [request.path for request in proxy.requests] == ['gpu1.invalid:443']
    proxy.stop()
    with pytest.raises(BackendUnreachableError, match='by the proxy that https_proxy names'):
        ask('https://gpu1.invalid/v1')


def test_a_proxy_that_requires_a_password(proxy: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy.behaviour = lambda handler: handler.send_error(407)
    monkeypatch.setenv('http_proxy', place(proxy))
    with pytest.raises(BackendUnreachableError, match=r'requires a password .*http_proxy'):
        ask(NOWHERE)
    monkeypatch.setenv('http_proxy', place(proxy).replace('//', '//me:hunter2@'))
    with pytest.raises(BackendUnreachableError) as caught:
        ask(NOWHERE)
    assert 'hunter2' not in str(caught.value)
    assert proxy.requests[-1].headers['Proxy-Authorization'].startswith('Basic ')
