"""Finding cause and fix from the end of a log: real logs, and messages of exceptions."""

import re

import pytest

from tests.unit.training.musubi.failures.expected import OOM, REAL, TOLD
from tests.unit.training.musubi.failures.logs import EXIT_CODES, TABLE, read_log
from training.estimates.gpu_memory import MemoryUse, TrainingShape
from training.musubi.failures.explain import Failure, explain
from training.musubi.failures.known.catalogue import ENTRIES
from training.musubi.failures.known.entry import KnownFailure
from training.musubi.launcher.hooks import HookError
from training.remedies import CacheAgain, FewerFrames, LowerResolution, SwapBlocks

GOOD = [name for name, code in EXIT_CODES.items() if code == 0]


def traceback(exception: str) -> str:
    return (
        "INFO:musubi_tuner.training.trainer_base:running training\n"
        "steps:   0%|          | 0/27 [00:00<?, ?it/s]\rTraceback (most recent call last):\n"
        '  File "/opt/musubi-tuner/src/musubi_tuner/wan_train_network.py", line 772, in <module>\n'
        f"    main()\n    ^^^^^^\n{exception}\n"
        "steps:   0%|          | 0/27 [00:09<?, ?it/s]\n"
    )


def of_log(name: str, *, is_code_known: bool = True) -> Failure | None:
    log = read_log(name)
    return explain(log.mixed.decode(), log.exit_code if is_code_known else None)


def found(log: str, exit_code: int | None = 1, use: MemoryUse | None = None) -> Failure:
    failure = explain(log, exit_code, use)
    assert failure is not None
    return failure


def alternatives(pattern: str) -> list[str]:
    """Return the branches of a pattern outside of its groups."""
    plain = re.sub(r"\\.|\[(?:\\.|[^]])*\]", lambda found: "_" * len(found[0]), pattern)
    depth, start, found = 0, 0, list[str]()
    for at, sign in enumerate(plain):
        depth += (sign == "(") - (sign == ")")
        if sign == "|" and depth == 0:
            found.append(pattern[start:at])
            start = at + 1
    return [*found, pattern[start:]]


def test_every_real_log_of_a_failure_is_in_this_table() -> None:
    assert sorted(REAL) == sorted(name for name, code in EXIT_CODES.items() if code != 0)


@pytest.mark.parametrize("name", REAL)
def test_a_real_failure_has_its_cause_and_fix(name: str) -> None:
    failure = of_log(name)

    assert failure is not None
    assert failure.code == REAL[name]
    assert failure.cause.strip()
    assert failure.fix.strip()


@pytest.mark.parametrize("name", [n for n, c in REAL.items() if "TERM" not in n and c != "killed"])
def test_a_real_failure_is_found_without_its_exit_code(name: str) -> None:
    assert of_log(name, is_code_known=False) == of_log(name)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("is_code_known", [True, False])
def test_a_good_log_has_no_failure(name: str, is_code_known: bool) -> None:
    assert of_log(name, is_code_known=is_code_known) is None


@pytest.mark.parametrize("exception", TOLD)
def test_an_exceptions_own_message_is_known(exception: str) -> None:
    assert found(traceback(exception)).code == TOLD[exception]


def test_every_entry_of_the_catalogue_has_a_test() -> None:
    met = {*REAL.values(), *TOLD.values(), "other-trainer", "resume-state-unusable"}

    assert {entry.code for entry in ENTRIES} - met - {row["code"] for row in TABLE} == set()


def test_the_launchers_refusal_of_another_version_is_known() -> None:
    refusal = HookError("musubi_tuner.dataset.cache_io.save_file", "does not exist")

    failure = found(f"INFO:root:start\nHookError: {refusal}\n")

    assert failure.code == "other-trainer"
    assert "cache_io.save_file differs" in failure.cause


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.code)
def test_every_branch_of_a_pattern_captures_what_the_cause_names(entry: KnownFailure) -> None:
    named = set(re.findall(r"\{(\w+)\}", entry.cause)) - {"line"}

    for branch in alternatives(entry.pattern) if named else ():
        caught = {name.rstrip("0123456789") for name in re.findall(r"\?P<(\w+)>", branch)}
        assert named <= caught, branch


def test_the_exception_of_the_trainer_counts_not_that_of_its_launcher() -> None:
    failure = of_log("43_acc_fail")

    assert failure is not None
    assert "CalledProcessError" not in failure.cause
    assert failure.code == "nothing-to-train-on"


def test_a_killed_child_of_the_launcher_is_reported_as_killed() -> None:
    failure = of_log("46_acc_child_sigkill")

    assert failure is not None
    assert (failure.code, failure.resumable) == ("killed", True)


@pytest.mark.parametrize("exit_code", [-9, 137])
def test_a_killed_program_is_reported_whatever_it_printed(exit_code: int) -> None:
    for log in ("", traceback("KeyError: 'clip'"), read_log("03_train_t2v").stderr.decode()):
        assert found(log, exit_code).code == "killed"


def test_suggestions_for_memory_skip_what_the_run_already_does() -> None:
    log = traceback(OOM)
    caching = MemoryUse(shapes=(TrainingShape((1280, 720), 9),), swappable=0)

    assert found(log).suggestion == FewerFrames(max_frames=13)
    assert found(log, use=caching).suggestion == LowerResolution(resolution="480p")
    small = MemoryUse(shapes=(TrainingShape((832, 480), 9),), swappable=39)
    assert found(log, use=small).suggestion == SwapBlocks(blocks=20)
    spent = MemoryUse(shapes=(TrainingShape((832, 480), 9),), swapped=39, swappable=39)
    assert found(log, use=spent).suggestion is None
    assert "2.43 GiB" in found(log).cause


def test_frames_and_sizes_are_read_from_the_log_if_unknown() -> None:
    begin = read_log("03_train_t2v").stderr.decode().partition("steps:")[0]

    # 17 frames of 96 x 96 in the largest dataset: five latent frames.
    assert found(begin + traceback(OOM)).suggestion == FewerFrames(max_frames=9)


@pytest.mark.parametrize("name", ["32_i2v21_noclip_cache", "85_tr_trunccache"])
def test_bad_caches_are_rebuilt(name: str) -> None:
    failure = of_log(name)

    assert failure is not None
    assert (failure.suggestion, failure.resumable) == (CacheAgain(), True)


def test_the_same_exception_about_a_weight_file_does_not_blame_the_caches() -> None:
    broken = "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge"

    assert found(traceback(broken)).code == "damaged-weights"


@pytest.mark.parametrize(
    ("frame", "exception"),
    [
        (
            'musubi_tuner/training/trainer_base.py", line 437, in '
            "resume_from_local_or_hf_if_specified",
            "safetensors_rust.SafetensorError: Error while deserializing header: "
            "InvalidHeaderLength",
        ),
        (
            'musubi_tuner/training/trainer_base.py", line 437, in '
            "resume_from_local_or_hf_if_specified",
            "OSError: [Errno 22] Invalid argument",
        ),
        (
            'training/musubi/launcher/randomness.py", line 42, in read',
            "FileNotFoundError: [Errno 2] No such file or directory: 's/random_states_0.pkl'",
        ),
        (
            'training/musubi/launcher/train_hooks.py", line 190, in _readable',
            "training.musubi.launcher.train_hooks.ResumeError: s holds no readable state.",
        ),
    ],
)
def test_a_failure_with_a_training_state_does_not_blame_the_weights(
    frame: str, exception: str
) -> None:
    log = f'Traceback (most recent call last):\n  File "/opt/{frame}\n    read()\n{exception}\n'

    failure = found(log)

    assert (failure.code, failure.resumable) == ("resume-state-unusable", True)
    assert exception.partition("'")[0] in failure.cause


def test_an_unknown_failure_says_so_and_shows_the_exception() -> None:
    failure = found(traceback("IndexError: list index out of range"))

    assert failure.code == "unknown"
    assert "unknown error" in failure.cause
    assert "IndexError: list index out of range" in failure.cause
    assert failure.suggestion is None


def test_a_failure_without_an_exception_shows_the_last_line() -> None:
    failure = found("INFO:root:loading\nsomething odd\n", 3)

    assert failure.code == "unknown"
    assert "exit code 3" in failure.cause
    assert "something odd" in failure.cause
    assert "printed nothing" in found("", 1).cause


@pytest.mark.parametrize(
    ("exit_code", "code"),
    [(-11, "native-crash"), (139, "native-crash"), (-7, "shared-memory"), (132, "cpu-unsupported")],
)
def test_a_signal_explains_a_silent_end(exit_code: int, code: str) -> None:
    assert found("INFO:root:loading\n", exit_code).code == code


@pytest.mark.parametrize(
    ("last", "code"),
    [
        ("Killed", "killed"),
        (
            "./train.sh: line 3:  4711 Killed                  python3 wan_train_network.py",
            "killed",
        ),
        ("Terminated", "stopped"),
        ("Segmentation fault (core dumped)", "native-crash"),
        ("Bus error", "shared-memory"),
    ],
)
def test_the_last_line_of_a_shell_is_a_failure(last: str, code: str) -> None:
    log = f"steps:  10%|x| 1/10 [00:01<00:02, 2.0s/it, avr_loss=1.1]\n{last}\n"

    assert found(log, None).code == code


@pytest.mark.parametrize(
    "last", ["Killed it, great", "a man is Killed", "INFO:caption: Killed", "Terminated early."]
)
def test_a_caption_is_not_taken_for_a_shell_line(last: str) -> None:
    assert explain(f"{last}\n") is None


def test_the_exception_within_a_group_is_found() -> None:
    log = (
        "  + Exception Group Traceback (most recent call last):\n"
        '  |   File "x.py", line 1, in <module>\n'
        "  | ExceptionGroup: several (1 sub-exception)\n"
        "  +-+---------------- 1 ----------------\n"
        "    | KeyError: 'clip'\n"
        "    +------------------------------------\n"
    )

    assert found(log).code == "caches-without-clip"


def test_errors_during_teardown_do_not_hide_the_failure() -> None:
    aftermath = (
        "Exception ignored in: <function _Iter.__del__ at 0x7f>\n"
        'Traceback (most recent call last):\n  File "x.py", line 1\n'
        "AttributeError: 'NoneType' object has no attribute 'is_alive'\n"
    )

    assert found(traceback(OOM) + aftermath).code == "gpu-memory"


def test_the_exception_of_a_data_loader_worker_is_found_within_its_wrapping() -> None:
    wrapped = (
        "KeyError: Caught KeyError in DataLoader worker process 0.\n"
        "Original Traceback (most recent call last):\n"
        '  File "/opt/musubi-tuner/src/musubi_tuner/x.py", line 3, in f\n    g()\n'
        "KeyError: 'clip'"
    )

    assert found(traceback(wrapped)).code == "caches-without-clip"


def test_an_exception_that_training_survived_is_not_a_failure() -> None:
    went_on = (
        "\rsteps:   7%|x| 2/27 [00:01<00:02, 2.0s/it, avr_loss=1.1]"
        "\rsteps:  11%|x| 3/27 [00:01<00:02, 2.0s/it, avr_loss=1.1]"
    )

    assert explain(traceback("OSError: sample failed") + went_on) is None
    assert explain(traceback("OSError: sample failed") + "INFO:x:model saved.\n") is None


def test_a_rehearsals_last_line_is_an_exception_without_a_traceback() -> None:
    header = "safetensors_rust.SafetensorError: Error while deserializing header: X"

    assert found(f"/models/a.safetensors is cut off\n{header}\n").code == "damaged-weights"
    assert found(f"/c/caches/i_0128x0096_wan.safetensors is cut off\n{header}\n").code == (
        "damaged-cache"
    )


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "line", ["Traceback (most recent call last):\n", "Error" * 40_000, "a." * 300_000, "x\n"]
)
def test_a_huge_monotonous_log_is_read_quickly(line: str) -> None:
    log = (line * (1_000_000 // len(line) + 1))[:1_000_000]

    assert found(log).code == "unknown"
