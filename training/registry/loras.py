"""Keeps uploaded LoRA files that runs can start from; each file is for one model and expert."""

import itertools
import logging
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open

from training import store_keys
from training.catalogue.models import Expert, Model, find_model
from training.errors import AdapterError, NotFoundError, RequestError, TrainingError
from training.files.hashing import file_sha256
from training.files.read_before import is_right
from training.lora.contents import Contents, read_contents
from training.lora.fit import require_fit, require_values
from training.lora.modules import modules_of
from training.lora.origin import named_expert, proven_expert, read_origin, remarks, unproven
from training.lora.rewrite import as_musubi_names
from training.ports import Store
from training.records import both, read_each, read_record
from training.registry.staged import staging_folder
from training.registry.trash import Trash
from training.rehearsal.model.shape import adapter_widths
from training.remedies import AddLora, RemoveLora
from training.runs.spec import check_name, is_name, name_from_file
from training.vocabulary import EngineName, ExpertName, Widths
from training.wording import did_you_mean, spelled

logger = logging.getLogger(__name__)
ADAPTER = "adapter.safetensors"
_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class StoredLora(BaseModel):
    """The record of a stored LoRA file. If the record exists, the file is complete.

    Attributes:
        is_converted: Whether the tensors were renamed to musubi-tuner's names.
        unproven: Phrases for facts that the file's header does not confirm.
        remarks: Sentences on where the file's name or header contradicts the uploader's choices.
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
    remarks: tuple[str, ...] = ()
    added_at: datetime
    added_by: str


class Loras:
    """The LoRA files of all guilds in one store.

    While a file is in the trash, a new file may get the same name. The new file's folder is then
    called `name~2`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._trash = Trash(store)

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
        """Check a LoRA file and store it; return its record.

        Raises:
            NotFoundError: The file, the model or the expert does not exist.
            RequestError: The name is taken or invalid, or no expert is given and the file's header
                names none.
            AdapterError: The file is damaged, is not a LoRA, or is for a different model or expert.
        """
        found = find_model(model)
        name = check_name("checkpoint", name or name_from_file(file.name, "checkpoint"))
        self.require_free(guild, name)
        contents = open_adapter(file)
        trained = _expert(contents, found, expert)
        engine = _check(contents, found, trained)
        origin = read_origin(contents.header.metadata)
        with staging_folder(self._store, guild) as folder:
            stored = _copy(contents, folder / ADAPTER)
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
                unproven=(*unproven(origin, found), *_assumed(contents)),
                remarks=remarks(file.name, origin, found, trained),
                added_at=datetime.now(UTC),
                added_by=by,
            )
            for part, data in both(store_keys.MANIFEST, record).items():
                (folder / part).write_bytes(data)
            self._put(guild, name, folder)
        return record

    def _put(self, guild: str, name: str, folder: Path) -> None:
        removed, used = self._trash.items(guild, "checkpoints"), self._folders(guild)
        free = next(one for one in _folder_names(name) if one not in used)
        is_taken = any(name_of(one) == name for one in used if one not in removed)
        if is_taken or not self._store.put_tree(store_keys.lora(guild, free), folder):
            raise _taken(name)
        if self.named(guild).get(name, ()) != [free]:  # a file of this name has just been restored
            self.delete(guild, free)
            raise _taken(name)

    def require_free(self, guild: str, name: str) -> None:
        """Raise `RequestError` if a stored file has this name."""
        if name in self.names(guild):
            raise _taken(name)

    def names(self, guild: str) -> list[str]:
        return sorted(self.named(guild))

    def named(self, guild: str) -> dict[str, list[str]]:
        """Return the folders of all LoRA files outside the trash, keyed by name.

        A name has two folders only while a clash between an upload and a restore is being resolved.
        """
        removed = self._trash.items(guild, "checkpoints")
        found: dict[str, list[str]] = {}
        for folder in self._folders(guild):
            if folder not in removed:
                found.setdefault(name_of(folder), []).append(folder)
        return found

    def _folders(self, guild: str) -> list[str]:
        return self._store.names(store_keys.loras(guild))

    def all(self, guild: str) -> tuple[list[StoredLora], list[TrainingError]]:
        """Return the records of all LoRA files, and an error for each damaged record."""
        folders = sorted(folders[0] for folders in self.named(guild).values())
        return read_each(lambda folder: self.record(guild, folder), folders)

    def find(self, guild: str, name: str) -> StoredLora:
        """Return the record of a stored LoRA file.

        Raises:
            NotFoundError: The guild has no file of that name.
            AdapterError: The record is damaged.
        """
        return self.record(guild, self.folder(guild, name))

    def folder(self, guild: str, name: str) -> str:
        """Return the folder of a stored LoRA file; raise `NotFoundError` if there is none."""
        named, name = self.named(guild), spelled(name)
        if name in named:
            return named[name][0]
        folders = [one for one in self._folders(guild) if name_of(one) == name]
        self._trash.refuse_removed(guild, "checkpoints", folders, name=name)
        have = ", ".join(sorted(named))
        choice = "No checkpoint is stored yet; add one."
        if named:
            choice = did_you_mean(name, named) or f"Choose one of: {have}."
        raise NotFoundError(
            f"There is no checkpoint called {name[:80]!r} here.",
            f"{choice} A checkpoint of a run has a name such as run-name/high-e20.",
            None if have else AddLora(),
        )

    def owner(self, guild: str, name: str) -> str | None:
        """Return the owner of a LoRA file, even if it is in the trash; None if there is no file."""
        name = spelled(name)
        if not is_name(name):
            return None
        folders = [one for one in self._folders(guild) if name_of(one) == name]
        record = self._readable(guild, folders[-1]) if folders else None
        return record.added_by if record is not None else None

    def record(self, guild: str, folder: str) -> StoredLora:
        """Return the record of a stored LoRA file; raise `AdapterError` if it is damaged."""
        key = f"{store_keys.lora(guild, folder)}/{store_keys.MANIFEST}"
        try:
            return read_record(self._store, key, StoredLora)
        except (FileNotFoundError, ValueError) as error:
            raise _damaged("record", name_of(folder)) from error

    def _readable(self, guild: str, folder: str) -> StoredLora | None:
        """Return a record; if it is damaged, log the error and return None."""
        try:
            return self.record(guild, folder)
        except AdapterError as error:
            logger.error("%s", error.cause)  # noqa: TRY400  # expected: no traceback
            return None

    def file(self, guild: str, name: str) -> Path:
        """Return the path of a stored LoRA file, after checking that its content is intact.

        Raises:
            NotFoundError: The guild has no file of that name.
            AdapterError: The file or its record is missing or damaged.
        """
        folder = self.folder(guild, name)
        key = f"{store_keys.lora(guild, folder)}/{ADAPTER}"
        wanted = self.record(guild, folder).sha256
        try:
            path = self._store.fetch(key)
        except FileNotFoundError as error:
            raise _damaged("file", name) from error
        if not is_right(path, wanted, lambda: file_sha256(path) == wanted):
            raise _damaged("file", name)
        return path

    def delete(self, guild: str, folder: str) -> None:
        """Delete a file permanently. Runs that started from it have their own copies."""
        self._store.delete(store_keys.lora(guild, folder))


def _damaged(what: str, name: str) -> AdapterError:
    return AdapterError(
        f"The {what} of the checkpoint {name} is missing or damaged.",
        "Remove the checkpoint, then add its file again.",
        RemoveLora(name=name),
    )


def name_of(folder: str) -> str:
    """Return the name of the LoRA file in a folder: `name` for `name~2`."""
    return folder.partition("~")[0]


def _folder_names(name: str) -> Iterator[str]:
    yield name
    for number in itertools.count(2):
        yield f"{name}~{number}"


def open_adapter(file: Path) -> Contents:
    """Read an untrusted LoRA file; no code in it is executed.

    Raises:
        NotFoundError: There is no such file.
        AdapterError: The file is a pickle, is damaged or is not a LoRA.
    """
    if not file.is_file():
        raise NotFoundError(f"There is no file {file}.", "Check the path of the LoRA.")
    with file.open("rb") as opened:
        start = opened.read(4)
    if file.suffix.lower() in _PICKLES or start.startswith(_PICKLE_STARTS):
        raise AdapterError(
            f"{file.name} is a pickle file, which can run code when it is opened.",
            "If you trust the file, convert it to .safetensors and add the result.",
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
    """Return `name` if it is an expert's name.

    Raises:
        RequestError: There is no expert of that name.
    """
    for expert in get_args(ExpertName):
        if expert == name:
            return expert
    raise RequestError(f"There is no expert called {name[:40]!r}.", "Choose main, high or low.")


def engine_modules(contents: Contents, model: Model) -> tuple[EngineName, Widths]:
    """Return the engine that a LoRA file is for, and the width of each of the model's modules.

    The engine is recognized by the widths of the file's first module.
    """
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
            f"The header of {contents.name} does not say which expert the LoRA was trained for.",
            f"Choose the expert: {names}."
            + (f" The file's name says {named}." if (named := named_expert(contents.name)) else ""),
        )
    return model.expert(proven)


def _assumed(contents: Contents) -> tuple[str, ...]:
    if not contents.is_alpha_assumed:
        return ()
    return (
        f"which alpha the file was trained with (assumed: {contents.rank}, its rank; PEFT keeps "
        "alpha in adapter_config.json)",
    )


def _check(contents: Contents, model: Model, expert: Expert) -> EngineName:
    """Check that a LoRA file fits the expert; return the engine that it is for."""
    engine, modules = engine_modules(contents, model)
    require_fit(contents, model=model, expert=expert, modules=modules)
    require_values(contents)
    return engine


def _copy(contents: Contents, target: Path) -> Path:
    if contents.is_musubi:
        shutil.copyfile(contents.header.path, target)
    else:
        # musubi-tuner silently skips tensors that do not have its own names.
        as_musubi_names(contents, target)
    return target


def _taken(name: str) -> RequestError:
    return RequestError(
        f"There is already a checkpoint called {name!r}.",
        "Choose another name, or remove the existing checkpoint first.",
        RemoveLora(name=name),
    )
