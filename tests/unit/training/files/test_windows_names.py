"""Names of files are such that Windows accepts them."""

import pytest

from training.dataset.zip.members import plain_stem
from training.errors import RequestError
from training.files.windows_names import is_device, portable
from training.runs.spec import check_name, name_from_file


@pytest.mark.parametrize("name", ["con", "AUX", "nul.zip", "com1.tar.gz", "lpt9 .txt", "COM²"])
def test_a_devices_name_is_one_with_any_extension(name: str) -> None:
    assert is_device(name)


@pytest.mark.parametrize("name", ["icon", "auxiliary", "con-2.png", "com10", "nul-e5.safetensors"])
def test_a_name_that_only_begins_like_a_device_is_none(name: str) -> None:
    assert not is_device(name)


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("annika.safetensors", "annika.safetensors"),
        ("Анна 2.safetensors", "Анна 2.safetensors"),
        ('step:5 "best"?.safetensors', "step-5 -best--.safetensors"),
        ("a\\b/c", "a-b-c"),
        ("ends in dots. .", "ends in dots"),
        ("aux.safetensors", "file-aux.safetensors"),
        ("...", "-"),
    ],
)
def test_a_name_is_changed_only_where_windows_refuses_it(name: str, want: str) -> None:
    assert portable(name) == want


def test_no_dataset_or_run_is_named_like_a_device() -> None:
    with pytest.raises(RequestError, match="Windows cannot store a file called aux"):
        check_name("run", "aux")

    assert name_from_file("Aux.zip") == "dataset-aux"
    assert check_name("dataset", "auxiliary") == "auxiliary"


def test_no_file_of_a_repaired_dataset_is_named_like_a_device() -> None:
    assert [plain_stem(stem) for stem in ("nul", "con.1", "nulls")] == [
        "file-nul",
        "file-con.1",
        "nulls",
    ]
