"""Answers that are cut off because a server was lost, and are asked for again."""

from __future__ import annotations

import functools
import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip('httpx2')

from mimo_embodied_ros.core.errors import (
    BackendError,
    BackendUnreachableError,
    InvalidRequestError,
)
from mimo_embodied_ros.engine import openai_again
from mimo_embodied_ros.engine.openai_engine import DEFAULT_LIMITS
from mimo_embodied_ros.engine.openai_stream import OtherWordsError, StreamedReply
from support import prompts
from support.openai_server import ANSWER, Handler, Server, connect
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from mimo_embodied_ros.engine import Engine
    from support.openai_server import Behaviour

    Serve = Callable[..., Server]

make_prompt = functools.partial(prompts.make_prompt, limits=DEFAULT_LIMITS)
answer = Handler.answer


class Heard:
    """Asks, and keeps the pieces that come."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    def ask(self, engine: Engine, **options: Any) -> Any:
        return engine.generate(
            make_prompt(), max_new_tokens=9, on_text=lambda text, _: self.pieces.append(text),
            **options)

    @property
    def text(self) -> str:
        return ''.join(self.pieces)


def says(*pieces: str, finish: str = '') -> Behaviour:
    """Write pieces, and close the connection, with or without an end."""

    def behave(handler: Handler) -> None:
        handler.start()
        for piece in pieces:
            handler.say(piece)
        if finish:
            handler.say(finish=finish)

    return behave


def fails(code: int) -> Behaviour:
    def behave(handler: Handler) -> None:
        handler.send_error(code)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Do one thing after the other, the last one for ever."""
    following = itertools.chain(behaviours, itertools.repeat(behaviours[-1]))

    def behave(handler: Handler) -> None:
        next(following)(handler)

    return behave


cut_off = says('<think>\nit ', 'is r')


@pytest.mark.parametrize('elsewhere', [True, False])
def test_a_lost_answer_is_written_by_another_server_or_the_same_one(
    serve: Serve, elsewhere: bool
) -> None:
    servers = [serve(cut_off), serve(answer)] if elsewhere else [serve(in_turn(cut_off, answer))]
    heard = Heard()
    reply = heard.ask(connect(*(server.url for server in servers)))
    assert (reply.text, reply.finish_reason) == (ANSWER, 'stop')
    assert heard.pieces == ['<think>\nit ', 'is r', 'ed\n</thi', 'nk>\n\n\\boxed', '{yes}']
    assert (reply.stats.prompt_tokens, reply.stats.completion_tokens) == (70, 12)
    first, second = (request for server in servers for request in server.requests)
    assert first.body == second.body
    assert 0 < reply.stats.first_token_s < reply.stats.total_s - openai_again._PAUSES_S[0]


def test_a_router_that_has_lost_its_servers_is_asked_again(serve: Serve) -> None:
    server = serve(in_turn(fails(500), fails(503), answer))
    assert Heard().ask(connect(server.url)).text == ANSWER
    assert len(server.requests) == 3


def test_a_request_that_was_taken_and_lost_is_asked_again(serve: Serve) -> None:
    server = serve(in_turn(lambda _: None, answer))  # closes the connection
    assert Heard().ask(connect(server.url)).text == ANSWER


@pytest.mark.parametrize('anew', [
    says('<think>\nit was', finish='stop'), says('<think>', finish='stop'),
    says('<think>\nit is', finish='length')], ids=['others', 'fewer', 'cut'])
def test_other_words_than_those_that_were_passed_on_fail(serve: Serve, anew: Behaviour) -> None:
    first, second, heard = serve(cut_off), serve(anew), Heard()
    with pytest.raises(BackendError, match='without a finish_reason') as caught:
        heard.ask(connect(first.url, second.url))
    assert first.url in str(caught.value)
    assert heard.text == caught.value.raw_text == '<think>\nit is r'


def test_words_that_nobody_has_heard_may_differ(serve: Serve) -> None:
    engine = connect(serve(says('another')).url, serve(answer).url)
    assert engine.generate(make_prompt(), max_new_tokens=9).text == ANSWER


def test_a_request_at_which_servers_die_is_given_up(serve: Serve) -> None:
    servers, heard = [serve(cut_off), serve(cut_off)], Heard()
    with pytest.raises(BackendError, match=servers[0].url):
        heard.ask(connect(*(server.url for server in servers)), deadline=time.monotonic() + WAIT_S)
    assert sum(len(server.requests) for server in servers) == openai_again._MOST_CUT_OFFS
    assert heard.text == '<think>\nit is r'


def test_a_refusal_is_not_asked_again(serve: Serve) -> None:
    server = serve(in_turn(cut_off, fails(400)))
    with pytest.raises(InvalidRequestError):
        Heard().ask(connect(server.url))
    assert len(server.requests) == 2


def test_it_can_be_turned_off(serve: Serve) -> None:
    first, second = serve(cut_off), serve(answer)
    with pytest.raises(BackendError):
        Heard().ask(connect(first.url, second.url, ask_again=False))
    assert not second.requests


def dies(handler: Handler) -> None:
    """Write a part, and take no connection any more."""
    cut_off(handler)
    handler.server.stop()


@pytest.mark.parametrize('has_deadline', [True, False])
def test_a_server_that_does_not_come_back(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, has_deadline: bool
) -> None:
    """It is waited for until the deadline; without one not for long."""
    monkeypatch.setattr(openai_again, '_PAUSES_S', (0.05, 0.1))
    start = time.monotonic()
    with pytest.raises(BackendError, match='without a finish_reason') as caught:
        Heard().ask(connect(serve(dies).url), deadline=start + 3 if has_deadline else None)
    assert caught.value.raw_text == '<think>\nit is r'
    lasted = time.monotonic() - start
    assert lasted > 2 if has_deadline else lasted > 0.15


def test_a_server_that_comes_back_late(serve: Serve) -> None:
    def dies_for_a_second(handler: Handler) -> None:
        dies(handler)
        time.sleep(1)
        serve(answer, handler.server.server_port)

    server, heard = serve(dies_for_a_second), Heard()
    reply = heard.ask(connect(server.url), deadline=time.monotonic() + WAIT_S)
    assert reply.text == heard.text == ANSWER


def test_cancelled_while_a_server_is_waited_for(serve: Serve) -> None:
    heard, calls = Heard(), itertools.count()
    reply = heard.ask(
        connect(serve(dies).url), deadline=time.monotonic() + WAIT_S,
        cancelled=lambda: heard.text.endswith('is r') and next(calls) > 40)
    assert (reply.text, reply.finish_reason) == ('<think>\nit is r', 'cancelled')


def test_the_deadline_comes_while_words_are_written_anew(serve: Serve) -> None:
    def hangs(handler: Handler) -> None:
        says('<think>')(handler)
        time.sleep(3)

    heard = Heard()
    reply = heard.ask(
        connect(serve(in_turn(cut_off, hangs)).url), deadline=time.monotonic() + 2)
    assert (reply.text, reply.finish_reason) == ('<think>\nit is r', 'deadline')
    assert heard.text == reply.text


@given(st.text(min_size=1), st.lists(st.integers(0, 30), max_size=4))
def test_however_often_it_is_cut_the_text_is_passed_on_once(text: str, cuts: list[int]) -> None:
    passed: list[str] = []
    reply = StreamedReply(make_prompt(images=0), lambda new, _: passed.append(new))
    for cut in cuts:
        reply.add('', text[:cut], None)
        reply.begin_again()
    reply.add('', text, None)
    reply.complete()
    assert ''.join(passed) == reply.reply('stop').text == text


def test_a_second_text_that_differs_at_its_end_is_found_out() -> None:
    reply = StreamedReply(make_prompt(images=0), lambda *_: None)
    reply.add('', 'abc', None)
    reply.begin_again()
    reply.add('', 'ab', None)
    with pytest.raises(OtherWordsError):
        reply.complete()
    with pytest.raises(OtherWordsError):
        reply.add('', 'd', None)


@pytest.mark.parametrize('session', ['', '/robot1/mimo_embodied'])
def test_the_name_of_a_session_is_sent(serve: Serve, session: str) -> None:
    server = serve(answer)
    Heard().ask(connect(server.url, session=session))
    assert server.requests[0].headers.get('X-Session-ID', '') == session


@pytest.mark.parametrize('session', ['a\r\nAuthorization: b', 'röbot', ' robot'])
def test_a_session_that_no_header_can_hold(session: str) -> None:
    with pytest.raises(InvalidRequestError, match='session is'):
        connect('http://127.0.0.1:1/v1', session=session)


def test_nothing_is_asked_again_of_a_server_that_was_never_there(serve: Serve) -> None:
    server = serve(answer)
    server.stop()
    start = time.monotonic()
    with pytest.raises(BackendUnreachableError):
        Heard().ask(connect(server.url), deadline=start + WAIT_S)
    assert time.monotonic() - start < WAIT_S / 2
