"""Keeps compiled graphs and kernels in one file, for the next run on the same kind of GPU."""

import hashlib
import logging
import platform
import re
import tarfile
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

from training.files.atomic import atomic_path

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "LORABOT_COMPILED"
STORED_VARIABLE = "LORABOT_COMPILED_STORED"


class CompileCache:
    """Compiled graphs and kernels: in a folder on this machine, and in a file that is kept longer.

    The file's name depends on the GPU, torch, Python and this code; the compilers check the rest.

    Args:
        folder: The folder to write the file to.
        stored: The folder with the files of earlier runs; may be the same as `folder`.
        gpu: The GPU's name.
        torch_version: The version of torch.
    """

    def __init__(self, folder: Path, stored: Path, gpu: str, torch_version: str) -> None:
        code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
        facts = f"{torch_version} {platform.python_version()}".encode()
        address = hashlib.sha256(facts + code).hexdigest()[:16]
        name = f"{re.sub(r'[^A-Za-z0-9]+', '-', gpu)}-{address}"
        self._file, self._stored = folder / f"{name}.tar", stored / f"{name}.tar"
        self._local = Path(tempfile.gettempdir()) / f"lorabot-compiled-{name}"

    def restore(self, environment: MutableMapping[str, str]) -> None:
        """Unpack the results of earlier compilations, and make the compilers use them."""
        found = next((path for path in (self._file, self._stored) if path.exists()), None)
        if found is not None and not self._local.exists():
            try:
                with tarfile.open(found) as archive:
                    archive.extractall(self._local, filter="data")
            except (OSError, tarfile.TarError) as error:
                logger.warning("%s cannot be used, so steps are compiled again: %s", found, error)
        self._local.mkdir(parents=True, exist_ok=True)
        environment.update(
            {
                "TORCHINDUCTOR_CACHE_DIR": str(self._local / "inductor"),
                "TRITON_CACHE_DIR": str(self._local / "triton"),
                "FLASH_ATTENTION_CUTE_DSL_CACHE_ENABLED": "1",
                "FLASH_ATTENTION_CUTE_DSL_CACHE_DIR": str(self._local / "flash4"),
            }
        )

    def save(self) -> None:
        """Store all graphs and kernels compiled so far; a failure does not end training."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(self._file) as partial, tarfile.open(partial, "w") as archive:
                archive.add(self._local, arcname=".", filter=_without_locks)
        except (OSError, tarfile.TarError) as error:
            logger.warning("The compiled graphs could not be stored: %s", error)


def _without_locks(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    is_lock = member.name.endswith(".lock") or "/locks" in member.name
    return None if is_lock or not (member.isfile() or member.isdir()) else member


def cache_of(
    environment: MutableMapping[str, str], gpu: str, torch_version: str
) -> CompileCache | None:
    """Return a restored cache in the folder that the environment names; None if it names none."""
    folder = environment.get(FOLDER_VARIABLE)
    if not folder:
        return None
    stored = environment.get(STORED_VARIABLE, folder)
    cache = CompileCache(Path(folder), Path(stored), gpu, torch_version)
    cache.restore(environment)
    return cache
