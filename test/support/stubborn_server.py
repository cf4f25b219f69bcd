"""A server that answers a question in one way and then in another, and can be held to a grammar."""

from __future__ import annotations

from collections.abc import Callable

from support.openai_server import Handler, Server

Says = str | tuple[str, str] | Callable[[Handler], None]
"""A text, a text with its finish reason, or a behaviour."""


class StubbornServer(Server):
    """Gives one answer after the other to questions, the last one for ever.

    The engine's own requests are answered as it expects: those of its warm-up, and the trial of a
    grammar.

    Attributes:
        answers: to the questions in ``asked``.
        asked: the questions, without the engine's own requests.

    """

    def __init__(self, *answers: Says) -> None:
        """Start to serve."""
        super().__init__(self._answer)
        self.models = {'data': [{'owned_by': 'vllm'}]}
        self.answers = list(answers)
        self.asked: list[Handler] = []

    def _answer(self, handler: Handler) -> None:
        says: Says
        if handler.prompt.startswith(('Is it held?', 'Is it continued?')):
            says = 'held'
        elif handler.prompt.startswith(('What is in the image?', 'What is in the video?')):
            says = 'nothing'
        else:
            self.asked.append(handler)
            says = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if callable(says):
            says(handler)
            return
        text, finish = says if isinstance(says, tuple) else (says, 'stop')
        handler.start()
        handler.say(text, finish=finish)
