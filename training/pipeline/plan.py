"""Plans the stages of a run: for each stage, its dependencies, device and commands."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from training import store_keys
from training.catalogue.models import Model, WeightFile
from training.dataset.config.group import GroupPlan
from training.dataset.config.toml_file import render_toml
from training.errors import RequestError
from training.estimates.gpu_memory import MemoryUse, shapes_of
from training.musubi.commands import BaseFile, CacheLatents, CacheText, TrainNetwork, Weights
from training.musubi.launcher.fast.compile_cache import FOLDER_VARIABLE, STORED_VARIABLE
from training.ports import Engine
from training.runs.hyperparameters import SpeedLoraSettings
from training.runs.spec import ExpertSpec, RunSpec
from training.vocabulary import Device, ExpertName, StageKey, device_of


class Places(Protocol):
    """The part of `Store` that maps keys to local paths."""

    def path(self, key: str) -> Path: ...
    def staging_path(self, key: str) -> Path: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    """A stage, the stages that must succeed before it, and the commands that it runs."""

    key: StageKey
    needs: tuple[StageKey, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()

    @property
    def device(self) -> Device:
        return device_of(self.key.stage)


class Planner:
    """Plans the stages of one run."""

    def __init__(
        self, spec: RunSpec, model: Model, groups: GroupPlan, engine: Engine, places: Places
    ) -> None:
        self.spec, self.model, self.groups, self.engine = spec, model, groups, engine
        self._path, self._staging_path = places.path, places.staging_path

    def stages(self) -> tuple[PlannedStage, ...]:
        prepare, fetch, cache = (StageKey(name) for name in ("prepare", "fetch", "cache"))
        found = [
            PlannedStage(key=prepare),
            PlannedStage(key=fetch),
            PlannedStage(key=cache, needs=(prepare, fetch), commands=self.cache_commands()),
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
            stages.append(PlannedStage(key=merge, needs=(fetch,), commands=(command,)))
        needs = (cache, *(stage.key for stage in stages))
        command = self.train_command(expert.name)
        return [
            *stages,
            PlannedStage(key=train, needs=needs, commands=(command,)),
            PlannedStage(key=publish, needs=(train,)),
        ]

    def cache_commands(self) -> tuple[tuple[str, ...], ...]:
        """Return two commands: one makes the missing latent caches, one the missing text caches."""
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

        They keep the programs off the network: the fetch stage has downloaded every file.
        """
        cache = self._staging_path(store_keys.hub_cache(self.engine.name))
        compiled = store_keys.compiled(self.engine.name)
        return {
            **self.engine.environment(),
            FOLDER_VARIABLE: self._staging_path(compiled).as_posix(),
            STORED_VARIABLE: self._path(compiled).as_posix(),
            "HF_HUB_CACHE": cache.as_posix(),
            "HF_HUB_OFFLINE": "1",
        }

    def merge_command(self, expert: ExpertSpec, speed_lora: SpeedLoraSettings) -> tuple[str, ...]:
        """Return a command line that would merge one expert's base; it is only displayed.

        The merge stage does the same in its own process. It writes the merged base to a path named
        after the inputs' hashes, and makes this command's `--out` path a link to it.
        """
        base = store_keys.weight(self.engine.name, self.model.expert(expert.name).dit)
        lora = store_keys.weight(self.engine.name, speed_lora.weight_file)
        return (
            *("lorabot", "merge", "--base", self._path(base).as_posix()),
            *("--lora", self._path(lora).as_posix(), "--strength", f"{speed_lora.strength:g}"),
            *("--expect", str(self.engine.module_count(self.model))),
            *("--out", self.dit(expert).as_posix()),
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
        """Return the training comment: JSON that records which run made a checkpoint or state.

        `merge_receipt` is the hash of the merge receipt, if the base was merged with a speed LoRA.
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
        """Return the settings that decide how much GPU memory an expert's training takes.

        If `name` is None, return the settings for caching instead.
        """
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
        """Return the path of an expert's base model: the merged one if it has a speed LoRA."""
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
        return self._staging_path(self.spec.keys.dataset_config)

    def dataset_toml(self) -> str:
        caches = self._staging_path(self.spec.keys.caches)
        return render_toml(
            self.groups,
            media=PurePosixPath(self._path(self.prepared_key).as_posix()),
            caches=PurePosixPath(caches.as_posix()),
        )

    @property
    def prepared_key(self) -> str:
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
    """Return the number of optimizer steps per epoch.

    Raises:
        RequestError: There are no items to train on.
    """
    if not groups.items:
        raise RequestError(
            "The dataset yields nothing to train on: " + " ".join(groups.left_out),
            "Add images, or clips that are long enough for at least one group.",
        )
    return groups.steps_per_epoch
