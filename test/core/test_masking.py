"""Keys and passwords do not get into the messages of errors."""

from __future__ import annotations

import pytest

from mimo_embodied_ros.core.errors import BackendError
from mimo_embodied_ros.core.masking import hide, mask


@pytest.mark.parametrize(('text', 'masked'), [
    ('Incorrect API key provided: sk-proj-abcdefgh12. See it', 'API key provided: ***. See it'),
    ('Authorization: Bearer abc.def-123=', 'Authorization: Bearer ***'),
    ("{'Authorization': 'Basic dXNlcjpwYXNz'}", "'Authorization': 'Basic ***'"),
    ('refused Bearer eyJhbGciOi', 'Bearer ***'),
    ('token hf_AbCdEfGhIjKl was', 'token *** was'),
    ('http://user:pa55@gpu1:8000/v1 is gone', 'http://***@gpu1:8000/v1 is gone'),
    ('http://hf_AbCdEfGhIjKl@gpu1/v1', 'http://***@gpu1/v1'),
    ('to https://x/v1?api_key=abc&page=2', 'https://x/v1?api_key=***&page=2'),
    ('https://x/v1?page=2&access_token=abc#top', '?page=2&access_token=***#top'),
    ('{"apiKey": "abcd"}', '{"apiKey": "***"}'),
    ('x-api-key: 12345678', 'x-api-key: ***'),
    ('token: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_', 'token: ***'),
    ('no access for AKIAIOSFODNN7EXAMPLE here', 'for *** here'),
])
def test_what_looks_like_a_secret_is_masked(text: str, masked: str) -> None:
    assert masked in mask(text)
    assert mask(mask(text)) == mask(text)
    assert masked in str(BackendError(text))


@pytest.mark.parametrize('text', [
    'no bearer token was given', 'put a valid one into MIMO_KEY', 'task-12, disk-organizer',
    'http://10.0.0.1:8000/v1 cannot be reached', 'the key is missing', 'mail a@b.example',
    'the control token <|im_end|>', 'unknown field key; the fields are keys, monkey=3',
    '24 tokens=4096', 'EMPTY_ANSWER: the answer is EMPTYING',
])
def test_what_is_no_secret_stays(text: str) -> None:
    hide('EMPTY')  # what many give to servers that want no key
    assert mask(text) == text


def test_a_key_of_this_process_is_masked_wherever_it_occurs() -> None:
    hide('geheim/"42"')
    said = 'key geheim/"42", geheim%2F%2242%22 and {"k": "geheim/\\"42\\""} (EMPTY)'
    assert mask(said) == 'key ***, *** and {"k": "***"} (***)'
