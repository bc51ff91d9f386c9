"""Refusals, wrong usage and their exit codes."""

import tomllib
from pathlib import Path

import pytest

from bot.__main__ import main
from tests.lorabot import Lorabot


def test_a_refusal_gives_its_reason_and_changes_nothing(here: Lorabot, archive: Path) -> None:
    train = ("train", "--dataset", str(archive), "--model")

    assert "no model called" in here.refused(*train, "wan23")
    assert "'many'" in here.refused(*train, "wan21-t2v-14b", "--epochs", "many")
    assert "A100-40GB" in here.refused(*train, "wan21-t2v-14b", "--gpu", "GTX")
    assert "owner/repo:path" in here.refused(
        *train, "wan22-t2v-lightning", "--lightning-file", "https://example.com/a.safetensors"
    )
    assert "name for a run" in here.refused(*train, "wan21-t2v-14b", "--name", "a/b")
    assert "LORABOT_MUSUBI_DIR" in here.refused(*train, "wan21-t2v-14b", "--engine", "musubi")
    assert "no file" in here.refused("check", "nothing.zip")
    assert "no run called" in here.refused("download", "nobody", "--out", "x")
    assert f"lorabot runs --home {here.home}\n" in here.refused("resume", "nobody")
    assert "LORABOT_DISCORD_TOKEN" in here.refused("serve")
    assert not (here.home / "guilds").exists()


def test_the_version_is_that_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())["project"]

    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert not ended.value.code
    assert capsys.readouterr().out == f"{project['version']}\n"


@pytest.mark.parametrize(
    "arguments",
    [("frobnicate",), ("train",), ("plan", "--model"), ("runs", "--frob"), ("check",)],
)
def test_wrong_usage_is_exit_code_2(here: Lorabot, arguments: tuple[str, ...]) -> None:
    assert here.refused(*arguments, code=2)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("LORABOT_GPU_SLOTS", "abc"), ("LORABOT_WEB_PORT", "99999"), ("LORABOT_LINK_HOURS", "0")],
)
def test_a_wrong_variable_is_named(
    variable: str, value: str, here: Lorabot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    assert variable in here.refused("runs")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("download", "mine"), "--out is missing. Target folder"),
        (("download", "mine", "--out"), "--out needs a value. Target folder"),
        (("download",), "RUN is missing."),
        (("train", "--model", "a", "--datset", "b"), "Did you mean --dataset instead of --datset?"),
        (("trash", "now"), "Too many words: now."),
        (("download", "mine", "--out", "a", "--epoch", "ten"), "a whole number, not 'ten'"),
        (("download", "mine", "--out", "a", "--zip=3"), "--zip takes no value, but got '3'"),
        (("plan", "--model", "a", "--model", "b", "--dataset", "c"), "--model is given twice."),
    ],
)
def test_wrong_usage_says_what_to_type(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(list(arguments))

    error = capsys.readouterr().err
    assert said in error
    assert f"See lorabot {arguments[0]} --help." in error


@pytest.mark.parametrize("words", [("--epoch", "-1"), ("--epoch=-1",)], ids=str)
def test_a_negative_number_is_a_value(here: Lorabot, tmp_path: Path, words: tuple[str]) -> None:
    refusal = here.refused("download", "mine", "--out", tmp_path, *words)

    assert "There is no run called 'mine' here." in refusal


def test_a_home_that_cannot_be_used_is_no_empty_list(
    here: Lorabot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for home, reason in (
        (Path("/proc/nope"), "/proc cannot be written"),
        (file, f"{file} is not a folder"),
        (file / "below", f"{file} is not a folder"),
    ):
        with pytest.raises(SystemExit):
            main(["runs", "--home", str(home)])
        said = capsys.readouterr()
        assert f"Cannot use the home folder {home}: {reason}" in said.err
        assert said.out == ""
    assert here.run("runs").stdout == "No runs yet: start one with lorabot train.\n"
    assert not here.home.exists()


def test_an_invalid_port_is_wrong_usage(here: Lorabot) -> None:
    assert "port" in here.refused("sandbox", "--port", "99999", code=2)


@pytest.mark.parametrize(
    "command",
    [("cancel",), ("resume",), ("download",), ("run", "remove"), ("run", "revoke-links")],
    ids=" ".join,
)
def test_names_of_runs_may_have_capital_letters(here: Lorabot, command: tuple[str, ...]) -> None:
    server = ("--server", "77") if command[-1] == "revoke-links" else ()
    out = ("--out", here.home) if command == ("download",) else ()

    assert "no run called 'mine'" in here.refused(*command, "Mine", *server, *out)
