"""Records that cannot be rebuilt from anything else: each is stored twice, with a checksum.

The checksum is needed because a damaged record, with a flipped bit or a tail from an older version,
may still be valid JSON.
"""

import logging
import re
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

from pydantic import BaseModel

from training.errors import TrainingError
from training.files.parallel import each
from training.ports import Store

T = TypeVar("T", bound=BaseModel)
K = TypeVar("K")
logger = logging.getLogger(__name__)
_SEAL = re.compile(rb',"crc32":"([0-9a-f]{8})"\}\s*')


class AlteredRecordError(ValueError):
    """The checksum in a record does not match its content."""


def sealed(data: bytes) -> bytes:
    """Return a JSON object, which must not be empty, with a checksum added as its last field."""
    content = data.rstrip().removesuffix(b"}").rstrip()
    return content + b',"crc32":"%08x"}' % zlib.crc32(content)


def opened(data: bytes) -> bytes:
    """Return a JSON object without its checksum; one without a checksum is returned as it is.

    Raises:
        AlteredRecordError: The checksum does not match the content.
    """
    start = data.rfind(b",")
    seal = _SEAL.fullmatch(data, start) if start >= 0 else None
    if seal is None:
        return data
    content = data[:start]
    if int(seal[1], 16) != zlib.crc32(content):
        raise AlteredRecordError("its checksum does not match")
    return content + b"}"


def copy_of(key: str) -> str:
    """Return the key of a record's copy: `spec.copy.json` for `spec.json`."""
    stem, dot, ending = key.rpartition(".")
    return f"{stem}.copy{dot}{ending}"


def both(key: str, record: BaseModel) -> dict[str, bytes]:
    """Return the data to store for a record, by key: first its copy, then the record itself."""
    data = sealed(record.model_dump_json(indent=2).encode())
    return {copy_of(key): data, key: data}


def read_record(store: Store, key: str, kind: type[T]) -> T:
    """Return a record; if it is missing or damaged, restore it from its copy.

    Raises:
        FileNotFoundError: The record is missing, and its copy cannot be read.
        ValueError: The record is damaged, and its copy cannot be read.
    """
    try:
        return kind.model_validate_json(opened(store.read(key)))
    except (FileNotFoundError, ValueError) as error:
        trouble = error
    try:
        data = store.read(copy_of(key))
        found = kind.model_validate_json(opened(data))
    except (FileNotFoundError, ValueError):
        raise trouble from None
    logger.warning("%s was missing or damaged and is written again from its copy", key)
    with suppress(OSError):  # if this write fails, the next read uses the copy again
        store.write(key, data)
    return found


def read_each(read: Callable[[K], T], keys: Iterable[K]) -> tuple[list[T], list[TrainingError]]:
    """Read the record of each key; return the records, and the errors of those that fail."""

    def tried(key: K) -> T | TrainingError:
        try:
            return read(key)
        except TrainingError as error:
            return error

    found = each(tried, keys)
    damaged = [one for one in found if isinstance(one, TrainingError)]
    return [one for one in found if not isinstance(one, TrainingError)], damaged
