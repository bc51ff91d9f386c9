"""A clean Debian in a folder, which reaches the package registries as this machine does."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

SUITE = "bookworm"
# Where pip looks for its settings, and the certificates that registries are checked with.
_SETTINGS = ("etc/pip.conf", "etc/xdg/pip", "root/.config/pip", "root/.pip")
_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
_VARIABLES = re.compile(
    r"(PIP_|SSL_CERT|REQUESTS_CA|OPENBLAS_)\w*|(https?|no)_proxy", re.IGNORECASE
)
_SYSTEM_FOLDERS = ("/dev", "/proc")
# Mounted for one command only, so that removing the root removes nothing of this machine.
_BIND = 'root=$1; shift; for path in $BOUND; do mount --rbind "$path" "$root$path"; done; exec "$@"'


class RootError(Exception):
    """A command in the root failed; the text is the end of its output."""


@dataclass(frozen=True, slots=True)
class DebianRoot:
    """The root folder of a Debian system; commands run in it by chroot."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> "DebianRoot":
        """Make a root with only Python, like the slim images."""
        folder.mkdir(parents=True)
        include = "--include=ca-certificates,python3.11"
        command = ["debootstrap", "--variant=minbase", include, SUITE, str(folder), *_mirror()]
        _run(command, dict(os.environ))
        root = cls(folder)
        root._take_settings()
        # debootstrap itself cannot configure this package.
        root.install("python3.11-venv")
        return root

    def copy(self, folder: Path) -> "DebianRoot":
        _run(["cp", "--archive", "--reflink=auto", str(self.folder), str(folder)], dict(os.environ))
        return DebianRoot(folder)

    def run(self, *command: str) -> str:
        """Run a command in the root and return its output.

        Raises:
            RootError: It failed.
        """
        bound = [*_SYSTEM_FOLDERS, *_local_indexes()]
        for path in bound:
            (self.folder / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if _VARIABLES.fullmatch(name)}
        env = {
            **kept,
            "BOUND": " ".join(bound),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "DEBIAN_FRONTEND": "noninteractive",
        }
        inside = ["sh", "-euc", _BIND, "sh", str(self.folder), "chroot", str(self.folder), *command]
        return _run(["unshare", "--mount", *inside], env)

    def install(self, *packages: str) -> None:
        """Install packages of Debian."""
        self.run("apt-get", "update", "-qq")
        self.run("apt-get", "install", "-qq", "--yes", "--no-install-recommends", *packages)

    def take_out(self, package: str) -> None:
        """Remove a package of Debian, whatever depends on it."""
        self.run("dpkg", "--remove", "--force-depends", package)

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def _take_settings(self) -> None:
        for name in (*_SETTINGS, _CERTIFICATES):
            source, target = Path("/") / name, self.folder / name
            if source.is_dir():
                shutil.copytree(source, target)
            elif source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
        acquire = _run(["apt-config", "dump", "Acquire"], dict(os.environ))
        settings = [line for line in acquire.splitlines() if "IndexTargets" not in line]
        (self.folder / "etc/apt/apt.conf.d/90machine").write_text("\n".join(settings) + "\n")


def _mirror() -> list[str]:
    """Return the mirror that this machine installs from, if it runs Debian."""
    if "ID=debian" not in Path("/etc/os-release").read_text().splitlines():
        return []
    targets = _run(
        ["apt-get", "indextargets", "--format", "$(SITE)", "Identifier: Packages"],
        dict(os.environ),
    )
    return targets.splitlines()[:1]


def _local_indexes() -> Iterator[str]:
    """Yield the folders of this machine that its pip takes packages from."""
    listed = subprocess.run(["pip", "config", "list"], capture_output=True, text=True, check=True)
    words: list[str] = re.findall(r"(?:file://)?/[^\s']+", listed.stdout)
    found = {urlsplit(word).path for word in words}
    # An index names its files by paths relative to it, so its parent folder is needed.
    folders = {path.removesuffix("/simple") for path in found if Path(path).is_dir()}
    yield from sorted(folders)


def _run(command: Sequence[str], env: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=env,
        check=False,
    )
    if done.returncode:
        raise RootError(done.stdout.strip()[-4000:])
    return done.stdout
