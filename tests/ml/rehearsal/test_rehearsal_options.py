"""The rehearsal's command lines are musubi-tuner's."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import training.rehearsal
from training.rehearsal.__main__ import main
from training.rehearsal.options import READ, TRAIN, build_parser, read_options

_EXAMPLES = {"str": "text", "int": "3", "float": "0.5", "Path": "a/b", "_int_or_float": "10"}


def test_the_scripts_have_as_many_options_as_musubis() -> None:
    counts = {script: len(options) for script, options in read_options().items()}

    assert counts == {
        "wan_cache_latents.py": 17,
        "wan_cache_text_encoder_outputs.py": 8,
        "wan_train_network.py": 130,
    }


@pytest.mark.parametrize("script", sorted(read_options()))
def test_every_option_is_accepted_with_a_value_of_its_kind(script: str) -> None:
    line: list[str] = []
    for option in read_options()[script]:
        value = option["choices"][0] if option["choices"] else _EXAMPLES.get(option["type"], "")
        line += [option["name"]] if option["kind"] == "flag" else [option["name"], value]

    args = vars(build_parser(script).parse_args(line))

    # The launcher's own option comes beside musubi's.
    assert args.keys() == {"fast", *(option["dest"] for option in read_options()[script])}


@pytest.mark.parametrize("script", sorted(read_options()))
def test_defaults_are_musubis(script: str) -> None:
    options = read_options()[script]
    required = [part for o in options if o["required"] for part in (o["name"], "x")]

    args = vars(build_parser(script).parse_args(required))

    wrong = {
        o["name"]: args[o["dest"]]
        for o in options
        if not o["required"] and args[o["dest"]] != o["default"]
    }
    assert not wrong


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (["--unheard_of", "1"], "unrecognized arguments: --unheard_of 1"),
        (["--task", "t2v-A15B"], "invalid choice: 't2v-A15B'"),
        (["--timestep_boundary", "0.875"], "invalid int value: '0.875'"),
    ],
)
def test_a_command_line_that_musubi_refuses_ends_with_2(
    line: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([TRAIN, *line], {})

    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert f"{TRAIN}: error:" in error
    assert complaint in error


def test_an_unknown_script_ends_with_2() -> None:
    assert main(["hv_train_network.py"], {}) == 2


def test_a_script_may_be_named_by_its_path() -> None:
    with pytest.raises(SystemExit):
        main([f"/opt/musubi-tuner/src/{TRAIN}", "--help"], {})


def test_a_rehearsal_needs_no_torch_and_training_no_media_decoders() -> None:
    code = (
        "import sys, training.rehearsal.__main__, training.rehearsal.engine, "
        "training.rehearsal.loop.train; "
        "sys.exit(bool({'torch', 'av', 'PIL'} & sys.modules.keys()))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_listed_options_are_those_that_the_code_reads() -> None:
    folder = Path(training.rehearsal.__file__).parent
    read = {
        node.attr
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("args", "self._args")
    }

    assert read == READ


@pytest.mark.parametrize(
    "line",
    [
        ["--base_weights", "x.safetensors"],
        ["--sage_attn"],
        ["--network_dropout", "0.1"],
        ["--dit_high_noise", "high.safetensors"],
        ["--lr_warmup_steps", "10%"],
        ["--gradient_accumulation_steps", "2"],
        ["--save_every_n_steps", "5"],
        ["--save_last_n_epochs", "2"],
        ["--metadata_title", "annika"],
    ],
)
def test_an_option_that_the_rehearsal_lacks_is_refused(
    line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    required = ["--timestep_sampling", "shift", "--save_precision", "bf16"]

    assert main([TRAIN, *required, *line], {}) == 1

    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"ValueError: The rehearsal has no {line[0]}."


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ([], "--save_precision bf16"),
        (["--save_precision", "bf16"], "--timestep_sampling shift"),
        (
            ["--save_precision", "bf16", "--timestep_sampling", "uniform"],
            "--timestep_sampling shift",
        ),
        (["--timestep_sampling", "shift", "--save_precision", "fp32"], "--save_precision bf16"),
    ],
)
def test_a_value_that_the_rehearsal_lacks_is_refused(
    line: list[str], needed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([TRAIN, *line], {}) == 1

    assert f"ValueError: The rehearsal needs {needed}." in capsys.readouterr().err
