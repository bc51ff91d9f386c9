"""Lets one process at a time change a guild's trash."""

from collections.abc import Generator
from contextlib import contextmanager

from training.pipeline.leases import hold_lease
from training.pipeline.runtime import Runtime
from training.store_keys import TrashKind


@contextmanager
def trash_lease(runtime: Runtime, guild: str, kind: TrashKind) -> Generator[None]:
    """Hold the lease for removing, restoring or deleting items of one kind, such as datasets."""
    with hold_lease(runtime.leases, f"trash/{guild}/{kind}"):
        yield
