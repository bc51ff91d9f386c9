"""The LoRA files that a guild's trainings can start from: each bound to a model and an expert."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open

from training import store_keys
from training.catalogue.models import Expert, Model, find_model
from training.errors import AdapterError, NotFoundError, RequestError
from training.files.hashing import file_sha256
from training.files.parallel import each
from training.lora.contents import Contents, read_contents
from training.lora.fit import require_fit, require_values
from training.lora.modules import modules_of
from training.lora.origin import proven_expert, read_origin, unproven
from training.lora.rewrite import as_musubi_names
from training.ports import Store
from training.registry.staged import staging_folder
from training.rehearsal.model.shape import adapter_widths
from training.remedies import AddLora, RemoveLora
from training.runs.spec import check_name, is_name, name_from_file
from training.vocabulary import EngineName, ExpertName, Widths

ADAPTER = "adapter.safetensors"
_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class StoredLora(BaseModel):
    """One stored LoRA file; written last, so that what has one is complete.

    `unproven` holds what the file's header does not say and whoever added it answered for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    model: str
    expert: ExpertName
    engine: EngineName
    rank: int
    alpha: float
    modules: int
    sha256: str
    size_bytes: int
    file_name: str
    is_converted: bool
    unproven: tuple[str, ...]
    added_at: datetime
    added_by: str


class Loras:
    """Adds, lists, finds and removes the LoRA files of guilds in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self,
        guild: str,
        file: Path,
        *,
        model: str,
        expert: ExpertName | None = None,
        name: str | None = None,
        by: str,
    ) -> StoredLora:
        """Check a LoRA file and store it; nothing is stored of one that does not fit.

        Raises:
            NotFoundError: The file, the model or the expert does not exist.
            RequestError: The name is taken or not usable, or the expert must be named.
            AdapterError: The file is damaged, of another kind, or of another model or expert.
        """
        found = find_model(model)
        name = check_name("checkpoint", name or name_from_file(file.name, "checkpoint"))
        if name in self.names(guild):
            raise RequestError(
                f"There is a checkpoint called {name!r} already.",
                "Choose another name, or remove that one first.",
                RemoveLora(name=name),
            )
        contents = open_adapter(file)
        trained = _expert(contents, found, expert)
        engine, modules = engine_modules(contents, found)
        require_fit(contents, model=found, expert=trained, modules=modules)
        require_values(contents)
        with staging_folder(self._store, guild) as folder:
            stored = _take(contents, folder / ADAPTER)
            record = StoredLora(
                name=name,
                model=found.name,
                expert=trained.name,
                engine=engine,
                rank=contents.rank,
                alpha=contents.alpha(),
                modules=len(contents.modules),
                sha256=file_sha256(stored),
                size_bytes=stored.stat().st_size,
                file_name=file.name,
                is_converted=not contents.is_musubi,
                unproven=unproven(read_origin(contents.header.metadata), found),
                added_at=datetime.now(UTC),
                added_by=by,
            )
            (folder / store_keys.MANIFEST).write_text(record.model_dump_json(indent=2), "utf-8")
            if not self._store.put_tree(store_keys.stored_checkpoint(guild, name), folder):
                raise RequestError(
                    f"There is a checkpoint called {name!r} already.", "Choose another name."
                )
        return record

    def names(self, guild: str) -> list[str]:
        """Return the names of all stored LoRA files of a guild."""
        return self._store.names(store_keys.stored_checkpoints(guild))

    def all(self, guild: str) -> list[StoredLora]:
        """Return all stored LoRA files of a guild, by name."""
        return each(lambda name: self.find(guild, name), self.names(guild))

    def find(self, guild: str, name: str) -> StoredLora:
        """Return what is known of a stored LoRA file.

        Raises:
            NotFoundError: The guild has none of that name.
        """
        key = f"{store_keys.stored_checkpoint(guild, name)}/{store_keys.MANIFEST}"
        try:
            if is_name(name):
                return StoredLora.model_validate_json(self._store.read(key))
        except FileNotFoundError:
            pass
        have = ", ".join(self.names(guild))
        there = f"Choose one of: {have}." if have else "None is stored yet; add one."
        raise NotFoundError(
            f"There is no checkpoint called {name[:80]!r} here.",
            f"{there} A checkpoint of a run is named like run-name/high-e20.",
            None if have else AddLora(),
        )

    def file(self, guild: str, name: str) -> Path:
        """Return the stored file."""
        return self._store.fetch(f"{store_keys.stored_checkpoint(guild, name)}/{ADAPTER}")

    def remove(self, guild: str, name: str) -> StoredLora:
        """Remove a stored LoRA file; runs that started from it keep their own copy.

        Raises:
            NotFoundError: The guild has none of that name.
        """
        record = self.find(guild, name)
        self._store.delete(store_keys.stored_checkpoint(guild, name))
        return record


def open_adapter(file: Path) -> Contents:
    """Return what a LoRA file from outside holds, with nothing of it executed.

    Raises:
        NotFoundError: There is no such file.
        AdapterError: It is a pickle, damaged or no LoRA.
    """
    if not file.is_file():
        raise NotFoundError(f"There is no file {file}.", "Check the path of the LoRA.")
    with file.open("rb") as opened:
        start = opened.read(4)
    if file.suffix.lower() in _PICKLES or start.startswith(_PICKLE_STARTS):
        raise AdapterError(
            f"{file.name} is a pickle file, which can run code when it is opened.",
            "Convert it to .safetensors where you trust it, and add that.",
        )
    try:
        with safe_open(file, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise AdapterError(
            f"{file.name} is not a complete safetensors file: {error}.",
            "Use the .safetensors file as its trainer saved it; if it was copied, copy it again.",
        ) from error
    return read_contents(file)


def expert_named(name: str) -> ExpertName:
    """Return the expert of that name.

    Raises:
        RequestError: There is none.
    """
    for expert in get_args(ExpertName):
        if expert == name:
            return expert
    raise RequestError(f"There is no expert called {name[:40]!r}.", "Choose main, high or low.")


def engine_modules(contents: Contents, model: Model) -> tuple[EngineName, Widths]:
    """Return which engine's model a file is for, by its widths, and that model's modules."""
    first, module = next(iter(contents.modules.items()))
    tiny = adapter_widths(clip=model.clip)
    widths = {name.replace(".", "_"): pair for name, pair in tiny.items()}.get(first)
    if widths == (module.inputs, module.outputs):
        return "rehearsal", tiny
    return "musubi", modules_of(model)


def _expert(contents: Contents, model: Model, given: ExpertName | None) -> Expert:
    if given is not None:
        return model.expert(given)
    proven = proven_expert(read_origin(contents.header.metadata), model)
    if proven is None:
        names = " or ".join(expert.name for expert in model.experts)
        raise RequestError(
            f"The header of {contents.name} does not say which expert it was trained for.",
            f"Name it: expert {names}.",
        )
    return model.expert(proven)


def _take(contents: Contents, target: Path) -> Path:
    if contents.is_musubi:
        shutil.copyfile(contents.header.path, target)
    else:
        # musubi leaves out names that it does not know, without an error.
        as_musubi_names(contents, target)
    return target
