"""Plans the stages of a run: dependencies, device and commands of each."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from training import store_keys
from training.catalogue.models import Model, WeightFile, find_model
from training.dataset.config.group import GroupPlan
from training.dataset.config.toml_file import render_toml
from training.errors import RequestError
from training.estimates.gpu_memory import MemoryUse, shapes_of
from training.musubi.commands import BaseFile, CacheLatents, CacheText, TrainNetwork, Weights
from training.ports import Engine
from training.runs.hyperparameters import SpeedLoraSettings
from training.runs.spec import ExpertSpec, RunSpec
from training.vocabulary import ExpertName, StageKey

Device = Literal["cpu", "gpu"]


class Places(Protocol):
    """Local paths for the keys of a store."""

    def path(self, key: str) -> Path:
        """Return the path of what is stored at `key`."""
        ...

    def staging_path(self, key: str) -> Path:
        """Return the path for making what will be stored at `key`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    """One stage: the stages it waits for, the device it holds, the commands it runs."""

    key: StageKey
    device: Device
    needs: tuple[StageKey, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()


class Planner:
    """Plans the stages of one run; `places` maps keys to local paths."""

    def __init__(self, spec: RunSpec, groups: GroupPlan, engine: Engine, places: Places) -> None:
        self.spec = spec
        self.model: Model = find_model(spec.model)
        self.groups = groups
        self.engine = engine
        self._path, self._staging_path = places.path, places.staging_path

    def stages(self) -> tuple[PlannedStage, ...]:
        """Return all stages of the run in dependency order."""
        prepare, fetch, cache = (StageKey(name) for name in ("prepare", "fetch", "cache"))
        found = [
            PlannedStage(key=prepare, device="cpu"),
            PlannedStage(key=fetch, device="cpu"),
            PlannedStage(
                key=cache, device="gpu", needs=(prepare, fetch), commands=self.cache_commands()
            ),
        ]
        for expert in self.spec.experts:
            found += self._expert_stages(expert, fetch, cache)
        return tuple(found)

    def _expert_stages(
        self, expert: ExpertSpec, fetch: StageKey, cache: StageKey
    ) -> list[PlannedStage]:
        train, publish = (StageKey(name, expert.name) for name in ("train", "publish"))
        merge = StageKey("merge", expert.name)
        stages: list[PlannedStage] = []
        if expert.speed_lora is not None:
            command = self.merge_command(expert, expert.speed_lora)
            stages.append(
                PlannedStage(key=merge, device="cpu", needs=(fetch,), commands=(command,))
            )
        needs = (cache, *(stage.key for stage in stages))
        command = self.train_command(expert.name)
        return [
            *stages,
            PlannedStage(key=train, device="gpu", needs=needs, commands=(command,)),
            PlannedStage(key=publish, device="cpu", needs=(train,)),
        ]

    def cache_commands(self) -> tuple[tuple[str, ...], ...]:
        """Return the commands that make missing latent and text caches, in that order."""
        keys = self.spec.keys
        latents = CacheLatents(
            model=self.model,
            dataset_config=self._staging_path(keys.caching_config("latents")),
            weights=self._weights,
        )
        text = CacheText(
            dataset_config=self._staging_path(keys.caching_config("texts")),
            weights=self._weights,
        )
        return (
            self.engine.command(latents.script, latents.arguments()),
            self.engine.command(text.script, text.arguments()),
        )

    def environment(self) -> Mapping[str, str]:
        """Return the extra environment variables of the run's programs.

        They never use the network: the fetch stage has downloaded everything.
        """
        cache = self._staging_path(store_keys.hub_cache(self.engine.name))
        return {
            **self.engine.environment(),
            "HF_HUB_CACHE": str(cache),
            "HF_HUB_OFFLINE": "1",
        }

    def merge_command(self, expert: ExpertSpec, speed_lora: SpeedLoraSettings) -> tuple[str, ...]:
        """Return the merge of one expert as a command line, for display.

        The stage merges in-process, to a content address; the shown output is a link to it.
        """
        base = store_keys.weight(self.engine.name, self.model.expert(expert.name).dit)
        lora = store_keys.weight(self.engine.name, speed_lora.weight_file)
        return (
            *("lorabot", "merge", "--base", str(self._path(base))),
            *("--lora", str(self._path(lora)), "--strength", f"{speed_lora.strength:g}"),
            *("--expect", str(self.engine.module_count(self.model))),
            *("--out", str(self.dit(expert))),
        )

    def train_command(
        self, name: ExpertName, resume: Path | None = None, merge_receipt: str | None = None
    ) -> tuple[str, ...]:
        """Return the command that trains one expert, continuing from `resume` if given."""
        expert = self.spec.expert(name)
        train = TrainNetwork(
            model=self.model,
            expert=self.model.expert(name),
            settings=expert.settings,
            dit=BaseFile(path=self.dit(expert), weight=self.model.expert(name).dit),
            dataset_config=self.dataset_config,
            weights=self._weights,
            output_dir=self._staging_path(self.spec.keys.checkpoints(name)),
            output_name=self.spec.output_name(name),
            comment=self._comment(name, merge_receipt),
            resume=resume,
            network_weights=self._starting_file(expert),
        )
        return self.engine.command(train.script, train.arguments())

    def _comment(self, name: ExpertName, merge_receipt: str | None) -> str:
        """Return the training comment that identifies an expert's checkpoints and states.

        `merge_receipt` is the hash of the base's merge receipt, if it was merged.
        """
        facts = {
            "run": self.spec.name,
            "expert": name,
            "model": self.model.name,
            "task": self.model.task,
            "dataset": self.spec.dataset.version,
            "engine": self.spec.engine,
        }
        if merge_receipt is not None:
            facts["merge_receipt"] = merge_receipt
        return json.dumps(facts, separators=(",", ":"))

    def memory_use(self, name: ExpertName | None = None) -> MemoryUse:
        """Return the GPU memory use of training one expert, or of caching if `name` is None."""
        shapes = shapes_of(self.groups)
        if name is None:
            return MemoryUse(shapes=shapes, swappable=0)
        settings = self.spec.expert(name).settings
        return MemoryUse(
            shapes=shapes,
            swapped=settings.blocks_to_swap,
            swappable=self.model.swappable,
            fp8=settings.fp8,
        )

    def _starting_file(self, expert: ExpertSpec) -> Path | None:
        if expert.start is None:
            return None
        return self._path(self.spec.keys.initial_weights(expert.name, expert.start.sha256))

    def dit(self, expert: ExpertSpec) -> Path:
        """Return the base model that an expert trains on; merged if it has a speed LoRA."""
        base = self.model.expert(expert.name).dit
        if expert.speed_lora is None:
            return self._path(store_keys.weight(self.engine.name, base))
        return self._staging_path(self.spec.keys.merged_input(expert.name, base))

    def weight_files(self) -> tuple[WeightFile, ...]:
        """Return every weight file the run needs, without duplicates."""
        files = [*self.model.tokenizers, self.model.vae, self.model.t5]
        if self.model.clip_weights is not None:
            files.append(self.model.clip_weights)
        for expert in self.spec.experts:
            files.append(self.model.expert(expert.name).dit)
            if expert.speed_lora is not None:
                files.append(expert.speed_lora.weight_file)
        return tuple(dict.fromkeys(files))

    @property
    def dataset_config(self) -> Path:
        """Return the run's dataset TOML."""
        return self._staging_path(self.spec.keys.dataset_config)

    def dataset_toml(self) -> str:
        """Return the text of the run's dataset TOML."""
        caches = self._staging_path(self.spec.keys.caches)
        return render_toml(
            self.groups,
            media=PurePosixPath(self._path(self.prepared_key)),
            caches=PurePosixPath(caches),
        )

    @property
    def prepared_key(self) -> str:
        """Return the key of the repaired dataset."""
        return store_keys.prepared(self.spec.guild, self.spec.dataset.version)

    @property
    def _weights(self) -> Weights:
        def at(file: WeightFile) -> Path:
            return self._path(store_keys.weight(self.engine.name, file))

        clip = self.model.clip_weights
        return Weights(
            vae=at(self.model.vae), t5=at(self.model.t5), clip=at(clip) if clip else None
        )


def steps_per_epoch(groups: GroupPlan) -> int:
    """Return the optimizer steps of one epoch.

    Raises:
        RequestError: No group of the dataset yields an item.
    """
    if not groups.items:
        raise RequestError(
            "The dataset yields nothing to train on: " + " ".join(groups.left_out),
            "Add images, or clips of at least one frame at 16 frames a second.",
        )
    return groups.steps_per_epoch
