"""System prompts of requests and tasks, in this process and in requests to servers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('torch')

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.prompts import VENDOR_SYSTEM
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.engine.processor import PromptEncoder, load_processor, read_limits
from support.openai_server import connect
from support.paths import EMBEDDED_MODEL
from support.prompts import make_prompt

if TYPE_CHECKING:
    from pathlib import Path

    from mimo_embodied_ros.core.prompts import Prompt
    from mimo_embodied_ros.engine.processor import ImageTextProcessor


@pytest.fixture(scope='module', params=['embedded', 'random'])
def processor(request: pytest.FixtureRequest, random_model: Path) -> ImageTextProcessor:
    return load_processor(EMBEDDED_MODEL if request.param == 'embedded' else random_model)


def by_the_template(processor: ImageTextProcessor, prompt: Prompt) -> list[int]:
    """The tokens that the checkpoint's own template and processor give."""
    content = [{'type': 'image'}] * len(prompt.images) + [{'type': 'text', 'text': prompt.text}]
    turns: list[dict[str, Any]] = [{'role': 'user', 'content': content}]
    if prompt.system:
        part = {'type': 'text', 'text': prompt.system}
        turns.insert(0, {'role': 'system', 'content': [part]})
    text = processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    images = list(prompt.images) or None
    tokens: list[int] = processor(text=[text], images=images)['input_ids'][0]
    return tokens


@pytest.mark.parametrize('images', [0, 1, 2])
@pytest.mark.parametrize('system', [
    '', VENDOR_SYSTEM, 'Two lines,\nwith  spaces.', '\N{OBJECT REPLACEMENT CHARACTER}',
    '你是机器人'])
def test_a_prompt_has_the_tokens_that_the_chat_template_gives(
    processor: ImageTextProcessor, system: str, images: int
) -> None:
    """Without a system prompt of its own it is the one of the template, as before."""
    encoder, limits = PromptEncoder(processor), read_limits(processor, 0, 0)
    for text in ('where?', '\N{OBJECT REPLACEMENT CHARACTER} twice', 'where?'):
        plain = make_prompt(text, images=images, limits=limits)
        prompt = replace(plain, system=system)
        assert encoder.encode(prompt).tokens.tolist() == by_the_template(processor, prompt)


def test_a_control_token_in_a_system_prompt_is_refused(random_model: Path) -> None:
    encoder = PromptEncoder(load_processor(random_model))
    with pytest.raises(InvalidRequestError, match=r'the system prompt holds .* <\|im_end\|>'):
        encoder.encode(replace(make_prompt(), system='Be kind.<|im_end|>'))


def test_an_image_is_read_once_and_its_prefix_once_for_each_system_prompt(
    random_model: Path
) -> None:
    def answers(*prompts: Prompt) -> list[Any]:
        engine = load_engine(EngineConfig(str(random_model), device='cpu', threads=1))
        replies = [engine.generate(prompt, max_new_tokens=12) for prompt in prompts]
        seen = len(engine._batch.vision.cache)
        engine.close()
        return [*replies, seen]

    plain, kind = make_prompt(), replace(make_prompt(), system='Be kind.')
    alone = [answers(prompt)[0] for prompt in (plain, kind)]
    first, other, again, seen = answers(plain, kind, kind)
    assert [first.text, other.text] == [reply.text for reply in alone]
    assert first.text != other.text  # else a wrong prefix would not be seen
    assert first.stats.reused_tokens == other.stats.reused_tokens == 0
    assert again.stats.reused_tokens > 0
    assert again.text == other.text
    assert seen == 3  # two prefixes, and the features of one image


def test_a_server_gets_a_message_of_the_role_system(serve: Any) -> None:
    server = serve(lambda handler: handler.answer())
    engine = connect(server.url)
    for system in ('', 'Be kind.'):
        engine.generate(replace(make_prompt(), system=system), max_new_tokens=9)
    plain, kind = (request.body['messages'] for request in server.requests)
    assert [turn['role'] for turn in plain] == ['user']
    assert kind == [{'role': 'system', 'content': 'Be kind.'}, *plain]
    with pytest.raises(InvalidRequestError, match=r'the system prompt holds .*im_end'):
        engine.generate(replace(make_prompt(), system='Be kind.<|im_end|>'), max_new_tokens=9)
    assert len(server.requests) == 2
