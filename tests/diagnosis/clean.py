"""Traffic without breaks: what clients do all day that must raise no alarm."""

import copy
import random
from dataclasses import replace

from desk import Asked
from talks import DIALECTS, body, ends, paragraph, sentence, system_text, talk


class Client:
    """One conversation that goes on, is retried, branches, runs in parallel, is resumed. `step()` gives requests that are under way together."""

    def __init__(self, seed, app, dialect, *, named):
        self.rng = random.Random(f"client {seed}")
        self.dialect = dialect
        self.said = talk(
            seed, app=app, lines=30 + app % 20, tools=3 + app % 9, rounds=self.rng.randint(3, 8), session=f"session-{seed}" if named else ""
        )
        self.session = self.said.session
        self.stops = ends(self.said)
        self.at = 0
        self.last = None

    def done(self):
        return self.at >= len(self.stops)

    def request(self, said, upto):
        return Asked(self.dialect, copy.deepcopy(body(said, self.dialect, upto)), 0.0, session=self.session)

    def step(self):
        does = self.rng.random()
        if self.last is not None and does < 0.08:
            return [copy.deepcopy(self.last)]  # the same again
        if self.at > 1 and does < 0.16:
            return [self.branch()]
        if self.at > 0 and does < 0.22:
            return [self.other_question() for _ in range(self.rng.randint(2, 4))]
        if does < 0.26:
            return [self.side_request()]
        if does < 0.30:
            return [self.helper()]
        if self.at > 1 and does < 0.34 and self.session:
            self.session += "-resumed"
        self.last = self.request(self.said, self.stops[self.at])
        self.at += 1
        return [copy.deepcopy(self.last)]

    def branch(self):
        """Back to an earlier turn of the user's, and another way from there."""
        users = [index for index in range(self.stops[self.at - 1]) if self.said.turns[index][0] == "user"]
        at = self.rng.choice(users)
        other = replace(self.said, turns=[*self.said.turns[:at], ("user", paragraph(self.rng))])
        return self.request(other, at + 1)

    def other_question(self):
        """The newest turn, asked in another way."""
        upto = self.stops[self.at - 1]
        turns = self.said.turns[:upto]
        last = turns[-1]
        turns[-1] = ("user", last[1] + " " + sentence(self.rng)) if last[0] == "user" else (*last[:3], paragraph(self.rng))
        return self.request(replace(self.said, turns=turns), upto)

    def side_request(self):
        """A title for the conversation: another prompt, no tools, the same session."""
        said = replace(
            self.said,
            system="Write a title of at most six words for what follows. " + "Say nothing else. " * 4,
            tools=[],
            turns=[("user", self.said.turns[0][1])],
        )
        return self.request(said, 1)

    def helper(self):
        """A helper with a prompt of its own and some of the tools, in the same session."""
        rng = random.Random(f"helper of {self.said.tools[0]['name']}")
        said = replace(
            self.said, system=system_text(rng, 25), tools=self.said.tools[: len(self.said.tools) // 2], turns=[("user", paragraph(self.rng))]
        )
        return self.request(said, 1)


def one_shot(seed, app, dialect):
    """A document and a question, under the app's prompt."""
    rng = random.Random(f"one shot {seed}")
    said = talk(app, app=app, lines=30 + app % 20, tools=0, rounds=0, session="")
    said.turns = [("user", "\n".join(paragraph(rng, 4) for _ in range(rng.randint(3, 12))))]
    return Asked(dialect, body(said, dialect, 1), 0.0)


def traffic(seed, clients=12, apps=3):
    """Lists of requests that are under way together, with a little time between them."""
    rng = random.Random(f"traffic {seed}")
    at_s, started, waiting = 1_000.0, 0, []
    while started < clients or waiting:
        if started < clients and (not waiting or rng.random() < 0.2):
            waiting.append(Client(seed * 1_000 + started, rng.randrange(apps), rng.choice(DIALECTS), named=rng.random() < 0.6))
            started += 1
        at_s += rng.uniform(2.5, 9.0)
        client = rng.choice(waiting)
        together = client.step() if rng.random() < 0.92 else [one_shot(rng.random(), rng.randrange(apps), client.dialect)]
        for asked in together:
            asked.at_s = at_s
        yield together
        if client.done():
            waiting.remove(client)
