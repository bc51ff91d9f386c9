"""What helps after a failure, as it is typed in chat and on a terminal."""

import pickle
import re
from typing import get_args

import pytest

from bot.__main__ import app
from bot.messages.error_text import error_card
from bot.messages.remedy_text import chat_command, terminal_command
from training import remedies as r
from training.errors import RequestError

PLACE = " --backend modal --app team"
EXAMPLES: list[r.Remedy] = [
    r.FewerFrames(max_frames=13),
    r.LowerResolution(resolution="480p"),
    r.SwapBlocks(blocks=20),
    r.UseFp8(),
    r.CacheAgain(),
    r.ResumeRun(),
    r.ResumeRun(run="mine"),
    r.StartRun(),
    r.ShowRuns(),
    r.ShowRuns(run="mine"),
    r.DownloadRun(run="mine"),
    r.AddDataset(name="annika"),
    r.RemoveDataset(name="annika"),
    r.AddLora(),
    r.RemoveLora(name="old"),
    r.Deploy(),
    r.Deploy(app="team"),
]


def test_every_remedy_is_tried_here() -> None:
    known = get_args(get_args(r.Remedy)[0])

    assert {type(remedy) for remedy in EXAMPLES} == set(known)


@pytest.mark.parametrize("remedy", EXAMPLES, ids=str)
def test_a_terminal_command_is_one_that_exists(remedy: r.Remedy) -> None:
    typed = terminal_command(remedy, PLACE)

    if typed is None:
        assert isinstance(remedy, r.RemoveDataset | r.CacheAgain)
        return
    words = [word for word in typed.split() if re.fullmatch(r"[a-z]+", word)]
    assert words[0] == "lorabot"
    assert words[1] in app
    assert "--app team" in typed


@pytest.mark.parametrize(
    ("remedy", "chat", "terminal"),
    [
        (r.ResumeRun(run="mine"), "/resume run-name:mine", "lorabot resume mine"),
        (r.ShowRuns(), "/runs", "lorabot runs"),
        (r.AddDataset(name="annika"), "/dataset add name:annika", "lorabot add ZIP --name annika"),
        (r.RemoveDataset(name="annika"), "/dataset remove name:annika", None),
        (r.Deploy(app="team"), "lorabot deploy --app team", "lorabot deploy --app team"),
        (r.CacheAgain(), None, None),
        (None, None, None),
    ],
)
def test_each_front_end_has_words_of_its_own(
    remedy: r.Remedy | None, chat: str | None, terminal: str | None
) -> None:
    assert chat_command(remedy) == chat
    assert terminal_command(remedy) == terminal


def test_chat_says_what_to_type_after_what_to_do() -> None:
    error = RequestError("It broke.", "Resume the run.", r.ResumeRun(run="mine"))

    text = error_card(error).text

    assert "Resume the run. `/resume run-name:mine`" in text


def test_an_error_keeps_its_parts_between_processes() -> None:
    error = RequestError("It broke.", "Resume the run.", r.ResumeRun(run="mine"))

    copy = pickle.loads(pickle.dumps(error))

    assert (copy.cause, copy.fix, copy.remedy) == (error.cause, error.fix, error.remedy)
    assert copy.args == (error.cause, error.fix, error.remedy)


def test_a_failure_that_does_not_know_its_run_means_the_one_that_failed() -> None:
    assert r.about_run(r.ResumeRun(), "mine") == r.ResumeRun(run="mine")
    assert r.about_run(r.StartRun(), "mine") == r.StartRun()
