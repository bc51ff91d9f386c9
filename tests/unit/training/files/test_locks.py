"""Locks on files: one process at a time, and none that outlives its holder."""

import subprocess
import sys
from functools import partial
from pathlib import Path

from tests.at_once import at_once
from training.files.locks import hold, is_held, open_alone


def test_only_one_at_a_time_changes_a_file(tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_bytes(b"0")

    def add(_number: int) -> None:
        with open_alone(path) as file:
            count = int(file.read()) + 1
            file.seek(0)
            file.write(str(count).encode())

    at_once([partial(add, number) for number in range(8)])

    assert path.read_bytes() == b"8"


def test_a_missing_file_is_created_for_its_owner_alone(tmp_path: Path) -> None:
    with open_alone(tmp_path / "new") as file:
        file.write(b"x")

    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").read_bytes() == b"x"


def test_a_held_file_is_held_until_all_who_inherited_it_have_ended(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)

    with path.open("ab") as file:
        assert hold(file)
        with path.open("ab") as other:
            assert not hold(other)
        heir = subprocess.Popen(
            [sys.executable, "-S", "-c", "input()"],
            stdin=subprocess.PIPE,
            pass_fds=(file.fileno(),),
        )

    assert is_held(path)
    heir.communicate(b"\n")
    assert not is_held(path)
