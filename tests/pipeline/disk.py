"""A small disk for tests that fill it."""

import errno
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(folder: Path, size: str, files: int = 0) -> Generator[None]:
    """Mount a disk of that size, and for that many files, at a new folder; needs root."""
    folder.mkdir(parents=True)
    options = f"size={size},nr_inodes={files}"  # 0 means any number
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def disk_with_quota(folder: Path, size: str) -> Generator[None]:
    """Mount a disk with a folder in it that may hold only `size`; needs root and mkfs.btrfs."""
    disk = folder.parent
    image = disk.with_name(f"{disk.name}.image")
    commands = (
        ("mkfs.btrfs", "--quiet", "--mixed", str(image)),
        ("mount", "-o", "loop", str(image), str(disk)),
        ("btrfs", "quota", "enable", str(disk)),
        ("btrfs", "subvolume", "create", str(folder)),
        ("btrfs", "qgroup", "limit", size, str(folder)),
    )
    disk.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(128 << 20)
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@contextmanager
def filled(folder: Path) -> Generator[None]:
    """Fill the disk of that folder, or its quota, while the body runs."""
    filler = folder / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, bytes(1 << 16))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        yield
    finally:
        os.close(descriptor)
        filler.unlink()


@contextmanager
def crowded(folder: Path) -> Generator[None]:
    """Use up the disk's files while the body runs."""
    made = list[Path]()
    try:
        while True:
            made.append(folder / f"file-{len(made)}")
            made[-1].touch()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        yield
    finally:
        for file in made:
            file.unlink(missing_ok=True)
