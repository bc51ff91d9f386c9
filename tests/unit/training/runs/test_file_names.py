"""Names of datasets from the names of uploaded files, in any script."""

import pytest

from training.runs.spec import is_name, name_from_file


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Annika v2.zip", "annika-v2"),
        ("Anníka_été.zip", "annika_ete"),
        ("アニカ.zip", "anika"),
        ("Анника.zip", "annika"),
        ("安妮卡.zip", "annika"),
        ("안니카.zip", "annika"),
        ("สวัสดี.zip", "swasdi"),
        ("my.set.final.zip", "my-set-final"),
        ("★・★.zip", "dataset"),
        ("---.zip", "dataset"),
        (".zip", "dataset"),
        ("x" * 90 + ".zip", "x" * 64),
    ],
)
def test_a_file_in_any_script_gives_a_name(file: str, name: str) -> None:
    assert name_from_file(file) == name
    assert is_name(name)
