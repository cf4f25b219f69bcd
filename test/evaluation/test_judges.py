"""Judges on real servers and of the real class, and the files for the benchmarks' own judges."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from mimo_embodied_ros.core.errors import (
    BackendError,
    BackendUnreachableError,
    InvalidRequestError,
    ModelNotReadyError,
)
from mimo_embodied_ros.core.tasks import TASKS
from mimo_embodied_ros.evaluation import exports
from mimo_embodied_ros.evaluation.answered import Answered
from mimo_embodied_ros.evaluation.dataset import Record
from mimo_embodied_ros.evaluation.ground_truth import Text
from mimo_embodied_ros.evaluation.judges import ChatJudge, Embeddings, Judges, LingoJudge
from mimo_embodied_ros.evaluation.vendor_rules import RULES
from support.openai_server import Handler, Server

if TYPE_CHECKING:
    from pathlib import Path


def say(handler: Handler, body: Any) -> None:
    handler.start(kind='application/json')
    handler.send(json.dumps(body))


def complete(text: str) -> Any:
    return lambda handler: say(handler, {'choices': [{'message': {'content': text}}]})


def embed(handler: Handler) -> None:
    """Embed a text as how often it has a, b and c."""
    vectors = [[text.count(letter) for letter in 'abc'] for text in handler.body['input']]
    say(handler, {'data': [{'embedding': vector} for vector in vectors]})


def answered(part: str, target: str, text: str, **extra: Any) -> Answered:
    record = Record(f's_f_{len(text)}', 'file:1', (), TASKS['ask'], 'What is there?',
                    Text((target,)), category=part, extra=extra)
    return Answered(record, text)


def test_coda_lm_is_rated_in_its_own_words_and_asked_once(tmp_path: Path) -> None:
    folder = tmp_path / 'evaluation' / 'scene_few_shot'
    folder.mkdir(parents=True)
    for name in ('high', 'low'):
        example = {'reference': f'R {name}', 'prediction': f'P {name}', 'response': f'S {name}'}
        (folder / f'{name}.json').write_text(json.dumps(example))
    os.environ['TEST_JUDGE_KEY'] = 'secret'
    with Server(complete('It is near. Rating: [[7]]')) as server:
        answers = [answered('general_perception', 'a car', '<think>\n</think>\n\na red car')]
        for _ in range(2):  # the second time it is read from the file
            judge = ChatJudge(server.url, 'judge', 'TEST_JUDGE_KEY', tmp_path / 'said.jsonl',
                              tmp_path / 'evaluation')
            tally = RULES['codalm_judge'].vendor(answers, Judges(chat=judge))
            assert tally.score() == 0.7
        request, = server.requests
        server.behaviour = complete('I cannot say.')
        assert judge.rate_codalm('region_perception', 'a', 'b') is None
        assert len(server.requests[-1].body['messages']) == 2  # it has no rated examples
    assert request.headers['Authorization'] == 'Bearer secret'
    assert 'secret' not in (tmp_path / 'said.jsonl').read_text()
    messages = request.body['messages']
    assert [m['role'] for m in messages] == ['system', *['user', 'assistant'] * 2, 'user']
    assert 'suppression hallucination' in messages[0]['content']
    assert messages[-1]['content'] == (
        '[The Start of Reference Text]\na car\n[The End of Reference Text]\n\n'
        '[The Start of Prediction Text]\na red car\n[The End of Prediction Text]')


def test_drivelm_is_rated_of_a_hundred() -> None:
    with Server(complete('62')) as server:
        tally = RULES['drivelm_judge'].vendor(
            [answered('words', 'Stop.', r'\boxed{Wait.}', tag='0-1')],
            Judges(chat=ChatJudge(server.url, 'judge')))
        assert tally.units == 1
        assert ChatJudge(server.url, 'judge').rate_drivelm('a', 'b') == 62
        assert 'out of 100' in server.requests[-1].body['messages'][1]['content']


def test_idkb_is_compared_by_embeddings() -> None:
    with Server(embed) as server:
        embeddings = Embeddings(server.url, 'all-MiniLM-L6-v2')
        assert embeddings.similarities([('ab', 'ba'), ('a', 'b'), ('', 'b')]) == pytest.approx(
            [1, 0, 0])
        same = RULES['idkb_text'].vendor(
            [answered('qa_no_image', 'a big car', 'a big car')], Judges(embeddings=embeddings))
        assert same.score() == pytest.approx(1, abs=1e-6)


def test_what_is_wrong_with_a_judge_is_said_with_its_remedy() -> None:
    with pytest.raises(InvalidRequestError, match='give its URL'):
        ChatJudge('127.0.0.1', 'judge')
    with pytest.raises(InvalidRequestError, match='no environment variable'):
        ChatJudge('http://127.0.0.1:9', 'judge', 'NOT_THERE')
    with pytest.raises(BackendUnreachableError, match='start it, or correct its URL'):
        ChatJudge('http://127.0.0.1:9/v1', 'judge').rate_drivelm('a', 'b')
    with Server(lambda handler: handler.start(500)) as server, \
            pytest.raises(BackendError, match='answers 500'):
        ChatJudge(server.url, 'judge').rate_drivelm('a', 'b')
    with Server(lambda handler: say(handler, {'no': 1})) as server, \
            pytest.raises(BackendError, match='no completion'):
        ChatJudge(server.url, 'judge').rate_drivelm('a', 'b')


def test_the_key_of_a_judge_is_masked_in_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('JUDGE_KEY', 'orange tulips\n')  # as from a file with a last line end

    def echo(handler: Handler) -> None:
        handler.start(401)
        handler.send(f'no such user: {handler.headers["Authorization"].removeprefix("Bearer ")}')

    with Server(echo) as server, pytest.raises(BackendError, match='answers 401') as raised:
        ChatJudge(server.url, 'judge', 'JUDGE_KEY').rate_drivelm('a', 'b')
    assert 'no such user: ***' in str(raised.value)


def test_lingo_judge_is_a_text_classifier(tmp_path: Path) -> None:
    # a tiny random one of its class: its weights cannot be had here
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        DebertaV2Config,
        DebertaV2ForSequenceClassification,
        PreTrainedTokenizerFast,
    )

    words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'Question', 'Answer', 'Student', 'yes', 'no']
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, '[UNK]'))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {f'{w[1:-1].lower()}_token': w for w in words[:4]}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(tmp_path)
    torch.manual_seed(0)
    model = DebertaV2ForSequenceClassification(DebertaV2Config(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=64, num_labels=1))
    model.save_pretrained(tmp_path)
    judge = LingoJudge(str(tmp_path))
    one, other = (judge.score('Go?', [answer], 'yes') for answer in ('yes', 'no'))
    assert 0 < one < 1
    assert one != other
    assert judge.score('Go?', ['yes', 'no'], 'yes') == max(one, other)
    tally = RULES['lingo_judge'].vendor(
        [answered('lingoqa', 'yes', r'</think>\boxed{\text{yes}}')], Judges(lingo=judge))
    expected = judge.score('What is there?', ['yes'], 'yes') > 0.5
    assert tally.score() == expected
    with pytest.raises(ModelNotReadyError, match='give its folder'):
        LingoJudge(str(tmp_path / 'absent'))


def test_exports_are_as_the_judges_read_them(tmp_path: Path) -> None:
    coda = [answered('general_perception', 'x', '<think>\n</think>\n\na car', id=0,
                     image_paths=['val/images/0001.jpg'], question='Describe.')]
    file, = exports.write('codalm', coda, tmp_path)
    assert file.name == 'general_perception_answer.jsonl'
    assert json.loads(file.read_text()) == {
        'question_id': 0, 'image': 'val/images/0001.jpg', 'question': 'Describe.',
        'answer': 'a car'}
    drive = [answered('choice', 'x', r'<think>\n</think>\boxed{A}', id='s_f_0', question='Where?')]
    file, = exports.write('drivelm', drive, tmp_path)
    submission = json.loads(file.read_text())
    assert file.name == 'submission.json'
    assert list(submission) == ['method', 'team', 'authors', 'email', 'institution', 'country',
                                'results']
    assert submission['results'] == [{'id': 's_f_0', 'question': 'Where?', 'answer': 'A'}]
    assert exports.write('drama', drive, tmp_path) == []
