"""Creates a deployment's adapters on Modal, for its containers and for an operator's machine."""

import atexit
import logging
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import modal

from storage.modal.claims import ModalClaims
from storage.modal.leases import ModalLeases
from storage.modal.live_values import ModalLiveValues
from storage.modal.mounts import Mounts
from storage.modal.shared_dict import PATIENCE_SECONDS, ModalDict
from storage.modal.store import VolumeStore
from storage.modal.volume_api import Volume
from training.backends.modal.backend import ModalBackend
from training.backends.modal.call_records import CallRecords, Placement
from training.backends.modal.errors import BUSY_SECONDS, UNREACHABLE, as_start_errors
from training.catalogue.models import Model, find_model
from training.deployment.image_pins import MUSUBI_FOLDER, MUSUBI_PYTHON
from training.deployment.modal_prices import ModalPrices
from training.deployment.names import Deployment, Purpose
from training.deployment.resources import exactly, function_of
from training.errors import StartDelayedError
from training.estimates.machine_requests import TRAIN_REQUEST, training_request
from training.files.temporary import make_scratch_folder
from training.musubi.engine import MusubiEngine
from training.pipeline.found_gpu import found_gpu
from training.pipeline.runtime import Runtime
from training.pipeline.settings import StageSettings
from training.ports import Call, Engine
from training.rehearsal.engine import RehearsalEngine
from training.runs.event_log import RunLog
from training.runs.spec import RunSpec
from training.store_keys import Area
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
    deployment: Deployment,
    *,
    mounted: Collection[Area] = (),
    read_only: Collection[Area] = (),
    settings: StageSettings | None = None,
) -> ModalRuntime:
    """Return the runtime of a deployment.

    Args:
        deployment: The names of the deployment's resources.
        mounted: The areas whose Volumes this container has mounted for reading and writing.
        read_only: The areas whose Volumes it has mounted for reading only.
        settings: The stage settings; None to read them from the environment.
    """
    settings = settings or StageSettings()
    leases = ModalLeases(_dictionary(deployment, "leases"))
    mounts = _mounts(deployment, mounted, read_only)
    store = _store(deployment, leases, mounts, settings.write_seconds)
    records = CallRecords(
        _dictionary(deployment, "calls", busy_seconds=BUSY_SECONDS),
        _dictionary(deployment, "line", busy_seconds=BUSY_SECONDS),
    )

    def place(call: Call) -> Placement:
        return placement_of(call, RunLog(store, call.guild, call.run).spec())

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
        live=ModalLiveValues(_dictionary(deployment, "progress")),
        engine=engine,
        gpu=_gpu,
        found_gpu=lambda _engine: found_gpu(),
        is_billed=True,
        falls_back=True,
        only_engine=deployment.engine,
        prices=ModalPrices().prices,
        limits=settings.limits,
        cache_seconds=settings.cache_seconds,
        remote_advance=lambda guild, run: _advance(deployment, records, guild, run),
    )
    # Discord expects an answer to an interaction within 3 s, so a claim waits only 0.5 s for Modal.
    claims = ModalClaims(_dictionary(deployment, "claims", patience_seconds=0.5))
    return ModalRuntime(runtime, backend, records, claims)


def scratch_folder() -> Path:
    """Return a temporary folder that is removed when this process exits."""
    folder = make_scratch_folder("modal")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def placement_of(call: Call, spec: RunSpec) -> Placement:
    """Return the Function that runs a call, and the GPU and memory to use instead of its defaults.

    If the user chose a GPU, the call waits for one of that type; no other type replaces it.
    """
    model = find_model(spec.model)
    memory_gib = _own_memory(call, spec, model)
    gpu = call.gpu or (model.gpu if memory_gib else None)
    function = function_of(call.key.stage, model, is_chosen=gpu is not None)
    return Placement(function, None if gpu is None else exactly(gpu), memory_gib)


def _own_memory(call: Call, spec: RunSpec, model: Model) -> int | None:
    """Return the GiB of main memory that a call needs; None if its Function has enough."""
    if call.key.stage != "train" or call.key.expert is None:
        return None
    settings = spec.expert(call.key.expert).settings
    needed = training_request(model, settings).memory_gib
    return needed if needed > TRAIN_REQUEST.memory_gib else None


def _store(
    deployment: Deployment, leases: ModalLeases, mounts: Mounts, write_seconds: float
) -> VolumeStore:
    return VolumeStore(
        {area: _volume(deployment.volume(area)) for area in deployment.areas},
        leases,
        scratch=scratch_folder(),
        mounts=mounts,
        write_seconds=write_seconds,
    )


def _dictionary(
    deployment: Deployment,
    purpose: Purpose,
    patience_seconds: float = PATIENCE_SECONDS,
    busy_seconds: float | None = None,
) -> ModalDict:
    entries = modal.Dict.from_name(deployment.dictionary(purpose), create_if_missing=True)
    return ModalDict(entries, patience_seconds=patience_seconds, busy_seconds=busy_seconds)


def _volume(name: str) -> Volume:
    # The library leaves some methods untyped; our protocol `Volume` gives types to those we use.
    return cast("Volume", modal.Volume.from_name(name, create_if_missing=True, version=1))


def _mounts(
    deployment: Deployment, mounted: Collection[Area], read_only: Collection[Area]
) -> Mounts:
    root = deployment.root
    return Mounts(
        {area: root / deployment.mount_path(area).lstrip("/") for area in deployment.areas},
        frozenset(mounted),
        frozenset(read_only),
    )


def _gpu(model: Model, engine: EngineName) -> str | None:
    return model.gpu if engine == "musubi" else None


def _advance(deployment: Deployment, records: CallRecords, guild: str, run: str) -> None:
    advance = cast(
        "modal.Function[[str, str], None, None]",  # the library declares no type
        modal.Function.from_name(deployment.stages_app, "advance"),
    )
    what, then = f"{run} is stored, but it", "The run then starts by itself."
    try:
        with as_start_errors(what, deployment.stages_app, "advance", then=then):
            advance.spawn(guild, run)
    except StartDelayedError as error:
        records.set_obstacle(str(error))
        logger.warning("run %s: not advanced; the next tick tries again: %s", run, error)
    except modal.exception.ResourceExhaustedError as error:
        logger.warning("run %s: not advanced; the next tick tries again: %s", run, error)
    except UNREACHABLE:
        logger.warning(
            "run %s: Modal cannot be reached; the next tick advances it", run, exc_info=True
        )
