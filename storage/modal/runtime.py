"""The adapters of a deployment on Modal, for its containers and for an operator's machine."""

import atexit
import logging
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import modal

from storage.modal.board import ModalBoard
from storage.modal.claims import ModalClaims
from storage.modal.leases import ModalLeases
from storage.modal.mounts import Mounts
from storage.modal.shared_dict import PATIENCE_SECONDS, ModalDict
from storage.modal.store import VolumeStore
from storage.modal.volume_api import Volume
from training.backends.modal.backend import ModalBackend
from training.backends.modal.call_records import CallRecords, Placement
from training.backends.modal.errors import UNREACHABLE
from training.catalogue.models import Model, find_model
from training.deployment.image_pins import MUSUBI_FOLDER, MUSUBI_PYTHON
from training.deployment.modal_prices import ModalPrices
from training.deployment.names import Deployment, Purpose
from training.deployment.resources import function_of
from training.errors import BackendError
from training.musubi.engine import MusubiEngine
from training.pipeline.runtime import Runtime
from training.pipeline.settings import StageSettings
from training.ports import Call, Engine
from training.rehearsal.engine import RehearsalEngine
from training.remedies import Deploy
from training.runs.event_log import RunLog
from training.vocabulary import EngineName

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModalRuntime:
    """A runtime on Modal, and the adapters that only Modal has."""

    runtime: Runtime
    backend: ModalBackend
    records: CallRecords
    claims: ModalClaims


def open_runtime(
    deployment: Deployment, *, has_mounts: bool = False, settings: StageSettings | None = None
) -> ModalRuntime:
    """Return the adapters of a deployment.

    Args:
        deployment: The names of its resources.
        has_mounts: Whether this container has the Volumes mounted.
        settings: Stage settings, if already read from the environment.
    """
    settings = settings or StageSettings()
    leases = ModalLeases(_dictionary(deployment, "leases"))
    store = _store(deployment, leases, has_mounts=has_mounts)
    records = CallRecords(_dictionary(deployment, "calls"), _dictionary(deployment, "line"))

    def place(call: Call) -> Placement:
        model = find_model(RunLog(store, call.guild, call.run).spec().model)
        return placement_of(call, model)

    def engine(name: EngineName) -> Engine:
        if name == "rehearsal":
            return RehearsalEngine()
        return MusubiEngine(Path(MUSUBI_FOLDER), Path(MUSUBI_PYTHON), settings.state_seconds)

    backend = ModalBackend(
        deployment.stages_app, records, leases, place, gpu_limit=deployment.gpu_stages
    )
    runtime = Runtime(
        store=store,
        leases=leases,
        backend=backend,
        board=ModalBoard(_dictionary(deployment, "progress")),
        engine=engine,
        gpu=_gpu,
        only_engine=deployment.engine,
        prices=ModalPrices().prices,
        limits=settings.limits,
        remote_advance=lambda guild, run: _advance(deployment, guild, run),
    )
    # A claimed interaction must be answered within 3 s, so Modal is not waited for.
    claims = ModalClaims(_dictionary(deployment, "claims", patience_seconds=0.5))
    return ModalRuntime(runtime, backend, records, claims)


def scratch_folder() -> Path:
    """Return a temporary folder that is removed when this process exits."""
    folder = Path(tempfile.mkdtemp(prefix="lorabot-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def placement_of(call: Call, model: Model) -> Placement:
    """Return the Function that runs a call, and the requested GPU if there is one."""
    return Placement(function_of(call.key.stage, model), call.gpu)


def _store(deployment: Deployment, leases: ModalLeases, *, has_mounts: bool) -> VolumeStore:
    return VolumeStore(
        {area: _volume(deployment.volume(area)) for area in deployment.areas},
        leases,
        scratch=scratch_folder(),
        mounts=_mounts(deployment),
        is_mounted=has_mounts,
    )


def _dictionary(
    deployment: Deployment, purpose: Purpose, patience_seconds: float = PATIENCE_SECONDS
) -> ModalDict:
    entries = modal.Dict.from_name(deployment.dictionary(purpose), create_if_missing=True)
    return ModalDict(entries, patience_seconds=patience_seconds)


def _volume(name: str) -> Volume:
    # The library's methods are partly untyped; `Volume` types those that are used.
    return cast("Volume", modal.Volume.from_name(name, create_if_missing=True))


def _mounts(deployment: Deployment) -> Mounts:
    root = deployment.root
    return Mounts({a: root / deployment.mount_path(a).lstrip("/") for a in deployment.areas})


def _gpu(model: Model, engine: EngineName) -> str | None:
    return model.gpu if engine == "musubi" else None


def _advance(deployment: Deployment, guild: str, run: str) -> None:
    advance = cast(
        "modal.Function[[str, str], None, None]",  # the library leaves its type open
        modal.Function.from_name(deployment.stages_app, "advance"),
    )
    try:
        advance.spawn(guild, run)
    except modal.exception.NotFoundError as error:
        raise BackendError(
            f"{run} is stored, but it cannot start: the stages are not deployed.",
            "The operator deploys them; the run then starts by itself.",
            Deploy(app=deployment.name),
        ) from error
    except UNREACHABLE:
        logger.warning("run %s: Modal is away; the next tick advances it", run, exc_info=True)
