"""Features of Modal that the loopback lacks: refused instead of silently ignored."""

from collections.abc import Mapping

from modal_proto import api_pb2

from tests.wire.modal.loopback.definitions import Definition
from tests.wire.modal.loopback.rpc import NotServedError


def check_served(data: api_pb2.FunctionData) -> None:
    """Refuse a function that the loopback would not run as Modal does.

    Raises:
        NotServedError: Naming what it wants.
    """
    wanted = {
        "web function": data.webhook_config.type,
        "clustered function": data._experimental_group_size,
        "sessioned server": data.is_sessioned,
    }
    for ranked in data.ranked_functions:
        wanted |= {
            "cloud bucket mount": ranked.function.cloud_bucket_mounts,
            "network file system": ranked.function.shared_volume_mounts,
            "batched function": ranked.function.batch_max_size,
            "proxy": ranked.function.proxy_id,
        }
    _refuse(wanted)


def check_served_options(options: api_pb2.FunctionOptions, base: Definition | None) -> None:
    """Refuse options of `with_options` that the loopback would leave out.

    Of a Function with a list of GPUs, Modal documents nothing about options for resources: whether
    the rest of the list stays, or what the next GPU in it gets.

    Raises:
        NotServedError: Naming what it wants.
    """
    has_list = base is not None and len(base.ranked) > 1
    _refuse(
        {
            "gpu, cpu or memory by option for a Function with a list of GPUs": has_list
            and bool(options.resources.ListFields()),
            "cloud bucket mount": options.cloud_bucket_mounts,
            "batching by option": options.batch_max_size,
            "concurrency by option": options.max_concurrent_inputs,
        }
    )


def _refuse(wanted: Mapping[str, object]) -> None:
    for name, value in wanted.items():
        if value:
            raise NotServedError(name)
