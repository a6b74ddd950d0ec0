"""Request heads that the parser has read before, and what they ask: the same bytes, come alone, ask the same."""

from collections import OrderedDict

from facade.rendered import Question

KNOWN_HEAD_BYTES = 1_024
KNOWN_BYTES = 192 << 20
"""What all known heads may cost, 110 000 ordinary ones: strangers could send any number."""
QUESTION_BYTES = 1_500
"""What a head costs beside itself."""


class Heads:
    """The oldest go first; in a plain dict those that have gone would have to be stepped over."""

    def __init__(self) -> None:
        self._questions: OrderedDict[bytes, Question] = OrderedDict()
        self._bytes = 0
        self.get = self._questions.get

    def add(self, head: bytes, question: Question) -> None:
        if len(head) > KNOWN_HEAD_BYTES:
            return
        if head not in self._questions:
            self._bytes += len(head) + QUESTION_BYTES
        self._questions[head] = question
        while self._bytes > KNOWN_BYTES:
            forgotten, _ = self._questions.popitem(last=False)
            self._bytes -= len(forgotten) + QUESTION_BYTES
