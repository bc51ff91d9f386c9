"""Remedies as they are typed in chat and on a terminal."""

import pickle
import re
from typing import get_args

import pytest

from bot.__main__ import app
from bot.messages.errors import error_card
from bot.messages.remedies import chat_command, terminal_command
from training import remedies as r
from training.errors import RequestError

PLACE = " --backend modal --app team"
EXAMPLES: list[r.Remedy] = [
    r.FewerFrames(max_frames=13),
    r.LowerResolution(resolution="480p"),
    r.SwapBlocks(blocks=20),
    r.UseFp8(),
    r.CacheAgain(),
    r.LowerRate(learning_rate=2.4e-5),
    r.LeaveOut(sample="images/002.png"),
    r.ConfirmRun(),
    r.ResumeRun(),
    r.ResumeRun(run="mine"),
    r.StartRun(),
    r.ShowRuns(),
    r.ShowRuns(run="mine"),
    r.DownloadRun(run="mine"),
    r.RemoveRun(run="mine"),
    r.AddDataset(name="annika"),
    r.WriteCaptions(),
    r.LeaveOutFiles(),
    r.ReadLayout(),
    r.RemoveDataset(name="annika"),
    r.AddLora(),
    r.RemoveLora(name="old"),
    *(r.Restore(what=what, name="old") for what in ("datasets", "checkpoints", "runs")),
    r.Deploy(),
    r.Deploy(app="team"),
]


def test_every_remedy_is_in_this_test() -> None:
    known = get_args(get_args(r.Remedy)[0])

    assert {type(remedy) for remedy in EXAMPLES} == set(known)


@pytest.mark.parametrize("remedy", EXAMPLES, ids=str)
def test_every_terminal_command_exists(remedy: r.Remedy) -> None:
    typed = terminal_command(remedy, PLACE)

    assert typed is not None
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
        (
            r.AddDataset(name="annika", keeps_files=True),
            "/dataset add name:annika mode:add",
            "lorabot add ZIP --name annika --mode add",
        ),
        (r.ReadLayout(), "/dataset check", "lorabot add ZIP --read-layout"),
        (r.LeaveOutFiles(), "/dataset check", "lorabot add ZIP --leave-out"),
        (
            r.RemoveDataset(name="annika"),
            "/dataset remove name:annika",
            "lorabot dataset remove annika",
        ),
        (
            r.Restore(what="datasets", name="annika@2"),
            "/dataset restore name:annika@2",
            "lorabot dataset restore annika@2",
        ),
        (
            r.Restore(what="checkpoints", name="old"),
            "/checkpoint restore name:old",
            "lorabot checkpoint restore old",
        ),
        (
            r.Restore(what="runs", name="mine"),
            "/run restore run-name:mine",
            "lorabot run restore mine",
        ),
        (r.Deploy(app="team"), "lorabot deploy --app team", "lorabot deploy --app team"),
        (r.CacheAgain(), None, "lorabot resume RUN --as-suggested"),
        (r.LeaveOut(sample="images/002.png"), None, "lorabot resume RUN --as-suggested"),
        (None, None, None),
    ],
)
def test_each_front_end_has_its_own_wording(
    remedy: r.Remedy | None, chat: str | None, terminal: str | None
) -> None:
    assert chat_command(remedy) == chat
    assert terminal_command(remedy) == terminal


def test_a_suggestion_names_the_run_that_it_is_about() -> None:
    for remedy in (r.LowerRate(learning_rate=2.4e-5), r.UseFp8(), r.ResumeRun()):
        assert "lorabot resume mine" in (terminal_command(remedy, run="mine") or "")


def test_chat_shows_the_command_after_the_fix() -> None:
    error = RequestError("It broke.", "Resume the run.", r.ResumeRun(run="mine"))

    text = error_card(error).text

    assert "Resume the run. `/resume run-name:mine`" in text


def test_an_error_keeps_its_parts_between_processes() -> None:
    error = RequestError("It broke.", "Resume the run.", r.ResumeRun(run="mine"))

    copy = pickle.loads(pickle.dumps(error))

    assert (copy.cause, copy.fix, copy.remedy) == (error.cause, error.fix, error.remedy)
    assert copy.args == (error.cause, error.fix, error.remedy)


def test_a_remedy_without_a_run_means_the_failed_run() -> None:
    assert r.about_run(r.ResumeRun(), "mine") == r.ResumeRun(run="mine")
    assert r.about_run(r.StartRun(), "mine") == r.StartRun()
