"""A provider on loopback that answers polls by the name of the command, as a test says."""

import contextlib
from urllib.parse import parse_qs, urlsplit

from serving import Handler, serving


class Scripted:
    """`answers` by command: a body, or a status and a body. Change them at any time."""

    def __init__(self, answers):
        self.answers = dict(answers)
        #: Commands, in the order they were asked.
        self.asked = []

    def rounds(self, command):
        """Return the number of times that a command was asked."""
        return self.asked.count(command)


@contextlib.contextmanager
def scripted(answers):
    provider = Scripted(answers)

    class Answers(Handler):
        def respond(self, _body):
            query = parse_qs(urlsplit(self.path).query)
            [command] = query.get("action") or query.get("cmd") or [""]
            provider.asked.append(command)
            answer = provider.answers.get(command, "BAD_ACTION")
            status, text = answer if isinstance(answer, tuple) else (200, answer)
            self.answer(status, text.encode(), content_type="text/plain")

    with serving(Answers) as server:
        provider.url = f"{server.url}/stubs/handler_api.php"
        yield provider
