"""Limits that Modal's service enforces but its client does not check."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from tests.wire.modal.loopback.cron import Cron

HOURS = 60 * 60  # seconds
MAX_TIMEOUT_SECONDS = 24 * HOURS
MAX_RETRIES = 10
MAX_CRONS = 5  # of a starter workspace
# The guide says that requests beyond a maximum are refused and names no figure.
MAX_MILLI_CPU = 64_000
MAX_MEMORY_MIB = 336 * 1024
MAX_DISK_MIB = 3 * 1024 * 1024
MAX_SCALEDOWN_SECONDS = 20 * 60
GPUS_PER_CONTAINER = 8
GPU_TYPES = {
    *("T4", "L4", "A10", "A10G", "L40S", "A100", "A100-40GB", "A100-80GB"),
    *("RTX-PRO-6000", "H100", "H100!", "H200", "B200", "B200+"),
}


def check_definition(data: api_pb2.FunctionData) -> None:
    """Refuse a function that Modal would not run.

    Raises:
        GRPCError: INVALID_ARGUMENT, with the setting and its limit.
    """
    for ranked in data.ranked_functions:
        _check_function(ranked.function)
    if data.schedule.HasField("cron"):
        try:
            Cron.parse(data.schedule.cron.cron_string)
            ZoneInfo(data.schedule.cron.timezone or "UTC")
        except (ValueError, ZoneInfoNotFoundError) as error:
            raise _refusal(f"Invalid cron schedule: {error}") from error


def check_crons(others: int) -> None:
    """Refuse a cron if the workspace already has as many as a starter workspace may have.

    Raises:
        GRPCError: RESOURCE_EXHAUSTED.
    """
    if others >= MAX_CRONS:
        raise GRPCError(
            Status.RESOURCE_EXHAUSTED, f"this workspace may deploy at most {MAX_CRONS} crons"
        )


def check_options(options: api_pb2.FunctionOptions) -> None:
    """Refuse options of `with_options` that Modal would not take.

    Raises:
        GRPCError: INVALID_ARGUMENT.
    """
    if options.HasField("timeout_secs"):
        _check_timeout(options.timeout_secs)
    _check_retries(options.retry_policy.retries)


def _check_function(function: api_pb2.Function) -> None:
    _check_timeout(function.timeout_secs)
    _check_retries(function.retry_policy.retries)
    _check_resources(function.resources)
    _check_scaling(function)
    _check_volumes(function)
    if function.scheduler_placement.nonpreemptible and function.resources.gpu_config.gpu_type:
        raise _refusal("nonpreemptible is not supported for Functions with a GPU")


def _check_timeout(seconds: int) -> None:
    if not 1 <= seconds <= MAX_TIMEOUT_SECONDS:
        raise _refusal(f"timeout must be between 1 and {MAX_TIMEOUT_SECONDS} seconds: {seconds}")


def _check_retries(retries: int) -> None:
    if retries > MAX_RETRIES:
        raise _refusal(f"retries must be at most {MAX_RETRIES}: {retries}")


def _check_resources(resources: api_pb2.Resources) -> None:
    if resources.milli_cpu > MAX_MILLI_CPU:
        raise _refusal(f"cpu must be at most {MAX_MILLI_CPU // 1000}: {resources.milli_cpu / 1000}")
    if resources.memory_mb > MAX_MEMORY_MIB:
        raise _refusal(f"memory must be at most {MAX_MEMORY_MIB} MiB: {resources.memory_mb}")
    if resources.ephemeral_disk_mb > MAX_DISK_MIB:
        disk = resources.ephemeral_disk_mb
        raise _refusal(f"ephemeral_disk must be at most {MAX_DISK_MIB} MiB: {disk}")
    gpu = resources.gpu_config
    if gpu.gpu_type and gpu.gpu_type not in GPU_TYPES:
        raise _refusal(f"Unknown GPU type {gpu.gpu_type!r}")
    if gpu.count > GPUS_PER_CONTAINER:
        raise _refusal(f"A container has at most {GPUS_PER_CONTAINER} GPUs: {gpu.count}")


def _check_scaling(function: api_pb2.Function) -> None:
    scaling = function.autoscaler_settings
    if scaling.max_containers and scaling.min_containers > scaling.max_containers:
        raise _refusal("min_containers must not exceed max_containers")
    if scaling.scaledown_window > MAX_SCALEDOWN_SECONDS:
        raise _refusal(f"scaledown_window must be at most {MAX_SCALEDOWN_SECONDS} seconds")


def _check_volumes(function: api_pb2.Function) -> None:
    mounted = [mount.volume_id for mount in function.volume_mounts]
    if len(mounted) != len(set(mounted)):
        raise _refusal("A Volume can be mounted only once in a container")


def _refusal(message: str) -> GRPCError:
    return GRPCError(Status.INVALID_ARGUMENT, message)
