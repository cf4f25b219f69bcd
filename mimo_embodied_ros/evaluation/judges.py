"""Judges of answers in words: models that are served or loaded beside the one that is measured.

A judge is a plug-in: without it the benchmarks that need it are not scored, and say so. What a
served judge has said is kept in a file, so that a run that goes on does not ask again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mimo_embodied_ros.core.errors import (
    BackendError,
    BackendUnreachableError,
    InvalidRequestError,
    ModelNotReadyError,
)
from mimo_embodied_ros.core.files import parse_json
from mimo_embodied_ros.core.masking import hide
from mimo_embodied_ros.core.yaml_files import read_yaml
from mimo_embodied_ros.share import import_extra

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TIMEOUT_S = 120.0
_RATING = re.compile(r'\[\[\s*(\d+)\s*\]\]')
_NUMBER = re.compile(r'\d+(?:\.\d+)?')


class LingoJudge:
    """LingoQA's judge: a text classifier, ``wayveai/Lingo-Judge`` (arXiv 2312.14115)."""

    def __init__(self, model: str) -> None:
        """Load it.

        Args:
            model: a folder, or a name on the Hugging Face hub.

        Raises:
            ModelNotReadyError: it cannot be loaded.

        """
        transformers = import_extra(
            'transformers', 'Lingo-Judge needs transformers', 'model', ModelNotReadyError)
        try:
            self._classify = transformers.pipeline('text-classification', model=model)
        except Exception as error:
            cause = ' '.join(str(error).split())
            msg = (f'Lingo-Judge {model} cannot be loaded ({cause}); give its folder, or its name '
                   'on the Hugging Face hub, wayveai/Lingo-Judge')
            raise ModelNotReadyError(msg) from error

    def score(self, question: str, answers: Sequence[str], prediction: str) -> float:
        """Return how right an answer is, 0 to 1; above 0.5 it counts as right.

        Args:
            question: of the benchmark.
            answers: right ones; the best match counts.
            prediction: the answer that is judged.

        """
        texts = [f'[CLS]\nQuestion: {question}\nAnswer: {answer}\nStudent: {prediction}'
                 for answer in answers]
        return max(float(s['score']) for s in self._classify(texts, truncation=True))


class _Api:
    """A server with OpenAI's interface, and the file of what it has said."""

    def __init__(self, url: str, model: str, key_env: str, kept: Path | None) -> None:
        """Take the settings; nothing is sent yet.

        Args:
            url: of the interface, such as ``http://127.0.0.1:8001/v1``.
            model: by which the server knows the judge.
            key_env: name of the environment variable with the key; empty is none.
            kept: file of JSON lines; None keeps nothing.

        Raises:
            InvalidRequestError: the URL or a name is missing; the file cannot be read.
            ModelNotReadyError: httpx2 is not installed.

        """
        if not url.startswith(('http://', 'https://')) or not model:
            msg = (f'the judge {model!r} at {url!r} cannot be asked; give its URL, such as '
                   'http://127.0.0.1:8001/v1, and its model')
            raise InvalidRequestError(msg)
        if key_env and key_env not in os.environ:
            msg = ('there is no environment variable of the name that was given for the key of '
                   'the judge; put the key into one, and give its name')
            raise InvalidRequestError(msg)
        self._httpx = import_extra(
            'httpx2', 'a judge on a server needs httpx2', 'remote', ModelNotReadyError)
        self._url, self._model = url.rstrip('/'), model
        key = os.environ[key_env].strip() if key_env else ''
        hide(key)
        self._headers = {'Authorization': f'Bearer {key}'} if key else {}
        self._path, self._said = kept, dict[str, Any]()
        if kept is not None and kept.exists():
            for line in kept.read_text('utf-8').splitlines():
                with contextlib.suppress(ValueError, TypeError, KeyError):  # a line cut short
                    entry = parse_json(line)
                    self._said[entry['key']] = entry['said']

    def ask(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON that answers a request, from the file where it is there.

        Raises:
            BackendUnreachableError: the server does not answer.
            BackendError: it answers with an error, or with something else than JSON.

        """
        request = {'model': self._model, **body}
        key = hashlib.sha256(json.dumps([path, request], sort_keys=True).encode()).hexdigest()
        if key not in self._said:
            self._said[key] = self._post(path, request)
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.open('a', encoding='utf-8') as file:
                    file.write(json.dumps({'key': key, 'said': self._said[key]}) + '\n')
        return self._said[key]

    def _post(self, path: str, request: Mapping[str, Any]) -> Any:
        try:
            response = self._httpx.post(
                f'{self._url}/{path}', json=request, headers=self._headers, timeout=_TIMEOUT_S)
        except self._httpx.HTTPError as error:
            msg = (f'the judge at {self._url} does not answer ({type(error).__name__}: {error}); '
                   'start it, or correct its URL')
            raise BackendUnreachableError(msg) from error
        if response.status_code != 200:
            text = ' '.join(response.text.split())[:200]
            msg = f'the judge at {self._url} answers {response.status_code} ({text}); see its log'
            raise BackendError(msg)
        try:
            return parse_json(response.text)
        except ValueError as error:
            msg = f'the judge at {self._url} answers no JSON ({error}); correct its URL'
            raise BackendError(msg) from error


class ChatJudge:
    """A judge that is asked in words, for CODA-LM and DriveLM, with their own prompts."""

    def __init__(
        self, url: str, model: str, key_env: str = '', kept: Path | None = None,
        examples: Path | None = None,
    ) -> None:
        """Take the settings; raises as `_Api` does.

        Args:
            url: of the interface, such as ``http://127.0.0.1:8001/v1``.
            model: by which the server knows the judge.
            key_env: name of the environment variable with the key; empty is none.
            kept: file of JSON lines of what it has said; None keeps nothing.
            examples: folder ``evaluation`` of CODA-LM's repository, whose rated examples the judge
                is shown first; None, or one that is not there: it is shown none.

        """
        self._api = _Api(url, model, key_env, kept)
        self._prompts = read_yaml(Path(__file__).with_name('judge_prompts.yaml'))
        self._examples = examples

    def rate_codalm(self, part: str, reference: str, prediction: str) -> int | None:
        """Return CODA-LM's rating of an answer, 1 to 10; None where the judge gives none.

        Args:
            part: general_perception, driving_suggestion or region_perception.
            reference: the right answer.
            prediction: the answer that is judged.

        """
        prompts = self._prompts['codalm']
        turn = prompts['turn']
        messages = [{'role': 'system', 'content': prompts['system'][part]}]
        for example in self._read_examples(prompts['examples'].get(part)):
            messages += [
                {'role': 'user', 'content': turn.format(**example)},
                {'role': 'assistant', 'content': example['response']}]
        messages.append(
            {'role': 'user', 'content': turn.format(reference=reference, prediction=prediction)})
        ratings = _RATING.findall(self._say(messages, temperature=0))
        return int(ratings[0]) if ratings else None

    def rate_drivelm(self, reference: str, prediction: str) -> float | None:
        """Return DriveLM's rating of an answer, 0 to 100; None where the judge gives none."""
        prompts = self._prompts['drivelm']
        text = prompts['turn'].format(reference=reference, prediction=prediction)
        messages = [{'role': 'system', 'content': prompts['system']},
                    {'role': 'user', 'content': text}]
        # its evaluation samples at 0.6; a run here gives the same score again
        numbers = _NUMBER.findall(self._say(messages, temperature=0))
        return min(100.0, float(numbers[0])) if numbers else None

    @property
    def has_examples(self) -> bool:
        """Whether the rated examples are there."""
        return self._examples is not None and self._examples.is_dir()

    def _say(self, messages: list[dict[str, str]], temperature: float) -> str:
        reply = self._api.ask(
            'chat/completions', {'messages': messages, 'temperature': temperature})
        try:
            return str(reply['choices'][0]['message']['content'] or '')
        except (KeyError, IndexError, TypeError) as error:
            msg = f'the judge answers {str(reply)[:200]!r}, which is no completion; see its log'
            raise BackendError(msg) from error

    def _read_examples(self, name: str | None) -> list[dict[str, str]]:
        if name is None or self._examples is None or not self.has_examples:
            return []
        return [_example(self._examples / name / file) for file in ('high.json', 'low.json')]


def _example(file: Path) -> dict[str, str]:
    try:
        example = parse_json(file.read_text('utf-8'))
        return {key: str(example[key]) for key in ('reference', 'prediction', 'response')}
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f'the rated example {file} cannot be read ({error}); copy it anew'
        raise InvalidRequestError(msg) from error


class Embeddings:
    """SemScore of IDKB: how near two texts are, by a model of sentences on a server.

    The vendor uses ``all-MiniLM-L6-v2`` of sentence-transformers.
    """

    def __init__(self, url: str, model: str, key_env: str = '', kept: Path | None = None) -> None:
        """Take the settings, as `ChatJudge` does."""
        self._api = _Api(url, model, key_env, kept)

    def similarities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return the cosine of each pair of texts, -1 to 1."""
        return [self._cosine(*pair) for pair in pairs]

    def _cosine(self, one: str, other: str) -> float:
        reply = self._api.ask('embeddings', {'input': [one or ' ', other or ' ']})
        try:
            a, b = (np.asarray(entry['embedding'], float) for entry in reply['data'])
        except (KeyError, TypeError, ValueError) as error:
            msg = f'the judge answers {str(reply)[:200]!r}, no two embeddings; see its log'
            raise BackendError(msg) from error
        return float(a @ b / max(1e-12, float(np.linalg.norm(a) * np.linalg.norm(b))))


@dataclass(frozen=True)
class Judges:
    """The judges that there are."""

    lingo: LingoJudge | None = None
    chat: ChatJudge | None = None
    embeddings: Embeddings | None = None


OPTIONS = {
    'lingo': '--lingo-judge', 'chat': '--judge-url and --judge-model',
    'embeddings': '--embeddings-url and --embeddings-model',
}
"""By the name of the judge: what gives it on the command line."""
