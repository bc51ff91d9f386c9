"""Functions: their definitions by version, and the variants that `with_options` binds."""

from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from modal_proto import api_pb2

# Fields of a function that its data, the shape that the SDK reads back, repeats.
_SHARED = {its.name for its in api_pb2.FunctionData.DESCRIPTOR.fields} & {
    its.name for its in api_pb2.Function.DESCRIPTOR.fields
}


@dataclass(frozen=True)
class Definition:
    """One version of a function: what a deploy said about it."""

    id: str
    data: api_pb2.FunctionData

    @property
    def ranked(self) -> list[api_pb2.Function]:
        """The function on each of its GPUs, the preferred one first."""
        return [
            ranked.function for ranked in sorted(self.data.ranked_functions, key=lambda r: r.rank)
        ]

    @property
    def function(self) -> api_pb2.Function:
        """The function on its preferred GPU."""
        return self.ranked[0]

    @property
    def has_cron(self) -> bool:
        return self.data.schedule.HasField("cron")


@dataclass
class FunctionRecord:
    """One function id.

    Attributes:
        created: Definitions that deploys created, by id.
        active: The published one.
        base: The function that this one is a variant of.
        options: What the variant changes.
        params: Parameters of a class, serialized.
    """

    id: str
    app_id: str
    name: str
    created: dict[str, Definition] = field(default_factory=dict[str, Definition])
    active: Definition | None = None
    base: "FunctionRecord | None" = None
    options: api_pb2.FunctionOptions | None = None
    params: bytes = b""

    @property
    def definition(self) -> Definition | None:
        """The published definition with the variant's options; None before the first publish."""
        if self.base is None:
            return self.active
        base = self.base.definition
        if base is None or self.options is None:
            return base
        return apply_options(base, self.options)

    @property
    def has_cron(self) -> bool:
        """Whether its newest definition has a cron; a variant has none."""
        return self.base is None and self.newest is not None and self.newest.has_cron

    @property
    def newest(self) -> Definition | None:
        """The definition that was created last, published or not."""
        return next(reversed(self.created.values()), self.definition)


def data_of(function: api_pb2.Function) -> api_pb2.FunctionData:
    """Return the data of a function that was deployed for one kind of GPU, or none."""
    data = api_pb2.FunctionData()
    for descriptor, value in function.ListFields():
        if descriptor.name in _SHARED:
            _copy(data, descriptor, value)
    data.ranked_functions.add(rank=0, function=function)
    return data


def apply_options(base: Definition, options: api_pb2.FunctionOptions) -> Definition:
    """Return what `with_options` makes of a definition."""
    data = api_pb2.FunctionData()
    data.CopyFrom(base.data)
    for ranked in data.ranked_functions:
        _change(ranked.function, options)
    if options.HasField("timeout_secs"):
        data.timeout_secs = options.timeout_secs
    return Definition(base.id, data)


def _change(function: api_pb2.Function, options: api_pb2.FunctionOptions) -> None:
    if options.HasField("resources"):
        function.resources.MergeFrom(options.resources)
    if options.replace_secret_ids:
        del function.secret_ids[:]
    function.secret_ids.extend(options.secret_ids)
    if options.replace_volume_mounts:
        del function.volume_mounts[:]
    function.volume_mounts.extend(options.volume_mounts)
    for name in ("retry_policy", "scheduler_placement"):
        if options.HasField(name):
            getattr(function, name).CopyFrom(getattr(options, name))
    _change_scaling(function, options)


def _change_scaling(function: api_pb2.Function, options: api_pb2.FunctionOptions) -> None:
    for name in ("timeout_secs", "concurrency_limit", "task_idle_timeout_secs"):
        if options.HasField(name):
            setattr(function, name, getattr(options, name))
    if options.HasField("concurrency_limit"):
        function.autoscaler_settings.max_containers = options.concurrency_limit
    if options.HasField("task_idle_timeout_secs"):
        function.autoscaler_settings.scaledown_window = options.task_idle_timeout_secs


def _copy(target: api_pb2.FunctionData, field: FieldDescriptor, value: Any) -> None:
    if field.is_repeated:
        getattr(target, field.name).MergeFrom(value)
    elif field.message_type is not None:
        getattr(target, field.name).CopyFrom(value)
    else:
        setattr(target, field.name, value)
