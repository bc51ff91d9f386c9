"""A dataset on the command line: a zip file, or the name of a stored dataset."""

from pathlib import Path

from bot.cli.options import GUILD, OPERATOR
from bot.wiring import LocalHouse
from training.errors import NotFoundError, RequestError
from training.request import name_from_file


def is_zip(dataset: str) -> bool:
    """Return whether the text names a zip file rather than a stored dataset.

    Raises:
        NotFoundError: It looks like a zip file that is not there.
    """
    if dataset.lower().endswith(".zip") or "/" in dataset:
        if not Path(dataset).is_file():
            raise NotFoundError(f"There is no file {dataset}.", "Check the path of the zip.")
        return True
    return False


def name_of_zip(path: Path) -> str:
    """Return the dataset name that a zip's file name gives.

    Raises:
        RequestError: Nothing of the file name can be used.
    """
    name = name_from_file(path.name)
    if not name:
        raise RequestError(
            f"The file name {path.name} gives no dataset name.",
            "Rename the zip with letters or digits, such as annika.zip.",
        )
    return name


def stored_dataset(local: LocalHouse, dataset: str) -> str:
    """Return the reference of the dataset, adding it as a new version when it is a zip."""
    if not is_zip(dataset):
        return dataset
    path = Path(dataset)
    name = name_of_zip(path)
    version, _report = local.datasets.add(GUILD, name, path, by=OPERATOR, file_name=path.name)
    return str(version.ref)
