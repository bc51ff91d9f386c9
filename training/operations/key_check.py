"""Checks the keys of a saved checkpoint from its header, without fetching the whole file."""

from pathlib import PurePosixPath

from training.catalogue.models import find_model
from training.errors import AdapterError
from training.files.safetensors_format import LENGTH_BYTES, header_end
from training.files.temporary import scratch_folder
from training.lora.contents import read_contents
from training.lora.fit import require_fit
from training.ports import Store
from training.registry.loras import engine_modules
from training.runs.spec import RunSpec
from training.runs.state import Checkpoint
from training.vocabulary import ExpertName


def check_keys(store: Store, spec: RunSpec, expert: ExpertName, saved: Checkpoint) -> str:
    """Check that all of a checkpoint's modules load into its model; return a summary.

    Only the header is read, so damaged values are not noticed. The publish stage checks them.

    Raises:
        AdapterError: The file is cut off, or its modules, widths or rank are wrong.
        FileNotFoundError: The file is not stored.
    """
    model = find_model(spec.model)
    reader = store.reader(f"{spec.keys.folder}/{saved.file}")
    name = PurePosixPath(saved.file).name
    end = header_end(reader.read(0, LENGTH_BYTES))
    if end is None:
        raise AdapterError(f"{name} has no readable header.", "Use another checkpoint.")
    with scratch_folder("keys") as folder:
        path = folder / name
        with path.open("wb") as file:
            file.write(reader.read(0, end))
            file.truncate(reader.size_bytes)  # the values become a hole, which takes no space
        contents = read_contents(path)
        return require_fit(
            contents,
            model=model,
            expert=model.expert(expert),
            modules=engine_modules(contents, model)[1],
            rank=spec.expert(expert).settings.rank,
        )
