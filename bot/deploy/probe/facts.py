"""The probe's measurements. Its process sends them as JSON lines; the doctor explains them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from training.deployment.image_recipes import ImageName


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FolderRename(_Fact):
    """What happened when a folder on a mount was written, synced and renamed.

    `fsync_error` and `rename_error` are "" if there was no error.
    """

    kind: Literal["rename"] = "rename"
    files: int
    fsync_error: str
    rename_error: str
    files_seen: int


class PutsAndRemoves(_Fact):
    """How many puts into a Volume and removals from it succeeded.

    The probe repeated them for about a minute, or until Modal refused one.
    """

    kind: Literal["writes"] = "writes"
    puts: int
    removes: int
    seconds: float
    refusal: str


class CommitWhileReading(_Fact):
    """What happened when a Volume was committed while another container had one of its files open.

    `commit_error` and `open_reload_error` are "" if there was no error.
    """

    kind: Literal["commit"] = "commit"
    commit_seconds: float
    commit_error: str
    open_reload_error: str
    is_seen: bool


class MountAndListing(_Fact):
    """How many files have a different size or time in a Volume's mount than in its listing."""

    kind: Literal["listing"] = "listing"
    files: int
    other_sizes: int
    other_times: int


class PutIfAbsent(_Fact):
    """How many keys both or neither of two containers got, when they put the same keys at once."""

    kind: Literal["put"] = "put"
    keys: int
    taken_twice: int
    taken_by_none: int


class DiskUsage(_Fact):
    """The free space that a container sees."""

    kind: Literal["disk"] = "disk"
    volume_free_bytes: int
    own_free_bytes: int


class ImageImports(_Fact):
    """Whether a container can import everything that its image must provide.

    `error` is "" if it can.
    """

    kind: Literal["image"] = "image"
    image: ImageName
    error: str


class Refused(_Fact):
    """A check that could not run; `check` is empty if no container could be started at all."""

    kind: Literal["refused"] = "refused"
    check: str
    cause: str
    fix: str = ""


Fact = (
    FolderRename
    | PutsAndRemoves
    | CommitWhileReading
    | MountAndListing
    | PutIfAbsent
    | DiskUsage
    | ImageImports
    | Refused
)
FACT: TypeAdapter[Fact] = TypeAdapter(Annotated[Fact, Field(discriminator="kind")])

RENAME, WRITES, COMMIT = "probe: folder rename", "probe: puts and removals", "probe: commit"
LISTING, PUT = "probe: mount and listing", "probe: Dict put-if-absent"
DISK = "probe: disk_usage"


def image_check(name: ImageName) -> str:
    return f"probe: {name} image"
