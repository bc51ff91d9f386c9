"""Resolves `resume-from`, which names a stored LoRA file or an earlier run's checkpoint."""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from training.catalogue.models import Expert, Model, find_model
from training.errors import NotFoundError, RequestError
from training.files.atomic import link_or_copy
from training.files.hashing import file_sha256
from training.files.parallel import AT_ONCE, each
from training.lora.contents import Contents, read_contents
from training.lora.fit import require_fit, require_values
from training.lora.origin import read_origin, remarks
from training.pipeline.checkpoint_sets import sets
from training.pipeline.runtime import Runtime
from training.registry.loras import Loras, engine_modules
from training.registry.trash import Trash
from training.runs.event_log import DamagedRunError
from training.runs.hyperparameters import split_value
from training.runs.spec import ExpertSpec, RunSpec, StartingPoint
from training.store_keys import RunKeys
from training.vocabulary import ExpertName
from training.wording import spelled

# Largest relative error of an alpha that was stored as bf16, which has eight significant bits.
_ALPHA_TOLERANCE = 2.0**-8
_ENOUGH = 25  # stop collecting suggestions at this many; more would not help the user
_OF_RUN = re.compile(r"(?P<run>[^/]+)/(?:(?P<expert>main|high|low)-)?e(?P<epoch>\d{1,6})")


class InitialWeights:
    """Finds the weights that experts start from, and gives each run its own copy."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._checkpoints = Loras(runtime.store)
        self._trash = Trash(runtime.store, runtime.clock)

    def resolve(self, spec: RunSpec, model: Model, text: str | None) -> RunSpec:
        """Return `spec` with the starting points that `text` names: one for all, or one per expert.

        Raises:
            NotFoundError: The guild has no such checkpoint.
            RequestError: The checkpoint's engine, expert, rank or alpha differs from the run's.
            AdapterError: The file does not fit the model.
        """
        if not text:
            return spec
        names: tuple[ExpertName, ...] = tuple(expert.name for expert in spec.experts)
        given = split_value("resume_from", text, names)
        experts = tuple(
            expert.model_copy(
                update={"start": self._start(spec, model, expert, given[expert.name])}
            )
            if expert.name in given
            else expert
            for expert in spec.experts
        )
        return spec.model_copy(update={"experts": experts})

    def keep(self, spec: RunSpec) -> None:
        """Copy every LoRA file that a run starts from into the run's folder; keep existing copies.

        Raises:
            NotFoundError: A source was removed after it was resolved.
            RequestError: A source's content has changed since it was resolved.
        """
        for expert in spec.experts:
            if expert.start is None:
                continue
            store = self._runtime.store
            key = spec.keys.initial_weights(expert.name, expert.start.sha256)
            if store.exists(key):
                continue
            source = self._source(spec, expert.name, expert.start)
            target = store.staging_path(key)
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(source, target)
            store.keep(key)

    def names(self, guild: str, runs: Sequence[str], typed: str = "") -> dict[str, str]:
        """Return the names of LoRAs to suggest, each with a description.

        First come the checkpoints of `runs`, in that order and newest epoch first; then all
        uploaded files whose names contain `typed`. A slash in `typed` and the text after it are
        ignored for these files. No more runs are read once 25 names are found; damaged runs are
        skipped.
        """
        wanted = typed.strip().lower().partition("/")[0]
        records, _damaged = self._checkpoints.all(guild)
        files = {
            record.name: f"{record.name} ({record.model}, {record.expert}, rank {record.rank})"
            for record in records
            if wanted in record.name
        }
        found: dict[str, str] = {}
        for first in range(0, len(runs), AT_ONCE):
            if len(found) + len(files) >= _ENOUGH:
                break
            some = runs[first : first + AT_ONCE]
            for named in each(lambda run: self._checkpoints_of(guild, run), some):
                found |= named
        return found | files

    def _checkpoints_of(self, guild: str, run: str) -> dict[str, str]:
        """Return descriptions of a run's checkpoints by name; {} if it is open or damaged.

        An epoch that every expert saved has a single name, which stands for all their files.
        """
        if not self._runtime.store.exists(RunKeys(guild, run).ended):
            return {}
        try:
            state = self._runtime.log(guild, run).load()
        except DamagedRunError:
            return {}
        ranks = {expert.name: expert.settings.rank for expert in state.spec.experts}
        found: dict[str, str] = {}
        for one in sets(state):
            if one.is_complete:
                name = f"{run}/e{one.epoch}"
                found[name] = f"{name} (rank {', '.join(map(str, ranks.values()))})"
                continue
            for expert in one.files:
                name = f"{run}/{expert}-e{one.epoch}"
                found[name] = f"{name} (rank {ranks[expert]})"
        return found

    def _start(
        self, spec: RunSpec, model: Model, expert: ExpertSpec, reference: str
    ) -> StartingPoint:
        file, shown = self._named(spec.guild, expert.name, reference), spelled(reference)
        trained = model.expert(expert.name)
        self._require_binding(spec.guild, shown, model, trained)
        contents = read_contents(file)
        _require_engine(contents, shown, model, spec)
        modules = engine_modules(contents, model)[1]
        require_fit(contents, model=model, expert=trained, modules=modules)
        _require_settings(contents, shown, expert)
        if "/" in reference:
            # Uploaded files were checked for NaN when they were added; runs' checkpoints were not.
            require_values(contents)
        name = file.name if "/" in shown else self._checkpoints.find(spec.guild, shown).file_name
        origin = read_origin(contents.header.metadata)
        found = remarks(name, origin, model, trained)
        return StartingPoint(source=shown, sha256=file_sha256(file), remarks=found)

    def _require_binding(self, guild: str, name: str, model: Model, expert: Expert) -> None:
        """Raise `RequestError` if a file was uploaded for another model family or expert."""
        if "/" in name:
            return
        record = self._checkpoints.find(guild, name)
        family = find_model(record.model).family
        if (family, record.expert) == (model.family, expert.name):
            return
        which = f"{record.model}, expert {record.expert}"
        raise RequestError(
            f"{name} is for {which}; training {model.name}, expert {expert.name}, cannot start "
            "from it.",
            f"Use {name} for its own expert only: {record.expert}={name}. Or choose another file."
            if family == model.family
            else f"Train {record.model}, or choose another checkpoint.",
        )

    def _named(self, guild: str, expert: ExpertName, reference: str) -> Path:
        """Return the file that `reference` names.

        `annika` names an uploaded file, and `annika-v1/e20` a checkpoint of a run.
        """
        name = spelled(reference)
        if "/" not in name:
            self._checkpoints.find(guild, name)
            return self._checkpoints.file(guild, name)
        match = _OF_RUN.fullmatch(name)
        if match is None:
            raise RequestError(
                f"{name[:80]!r} is not a checkpoint of a run.",
                "Write run-name/high-e20, or run-name/e20 for each expert's own checkpoint.",
            )
        if match["expert"] not in (None, expert):
            raise RequestError(
                f"{name} is from the {match['expert']} expert; the {expert} expert cannot start "
                "from it.",
                _own_expert(match["expert"], name, f"{match['run']}/e{match['epoch']}", expert),
            )
        run = self._runtime.log(guild, match["run"]).load()
        self._trash.refuse_removed(guild, "runs", [match["run"]], name=match["run"])
        saved = run.expert(expert).checkpoints
        for checkpoint in reversed(saved):
            if checkpoint.epoch == int(match["epoch"]):
                folder = RunKeys(guild, match["run"]).folder
                return self._runtime.store.fetch(f"{folder}/{checkpoint.file}")
        have = ", ".join(f"e{c.epoch}" for c in saved) or "none"
        raise NotFoundError(
            f"{match['run']} has no checkpoint of epoch {match['epoch']} for its {expert} expert.",
            f"It has: {have}.",
        )

    def _source(self, spec: RunSpec, expert: ExpertName, start: StartingPoint) -> Path:
        """Return a file with the weights: an earlier run's copy, if any, or the original."""
        if start.kept_by is not None:
            # The run that is continued or repeated has a copy of the weights. The original file may
            # have been removed.
            kept = RunKeys(spec.guild, start.kept_by).initial_weights(expert, start.sha256)
            with suppress(FileNotFoundError):
                found = self._runtime.store.fetch(kept)
                if file_sha256(found) == start.sha256:
                    return found
        try:
            found = self._named(spec.guild, expert, start.source)
            if file_sha256(found) == start.sha256:
                return found
        except FileNotFoundError:
            pass
        raise RequestError(
            f"{start.source}, from which the {expert} expert starts, has changed or is damaged.",
            "Add the file again, or start from another file.",
        )


def _own_expert(of: str, name: str, of_each: str, trained: ExpertName) -> str:
    """Return how to fix a request that starts one expert from another expert's checkpoint."""
    if trained == "main":
        return "The model has a single expert: choose a checkpoint of a run of that model."
    return (
        f"Use {name} for its own expert only: {of}={name}. "
        f"With {of_each}, each expert starts from its own checkpoint."
    )


def _require_engine(contents: Contents, name: str, model: Model, spec: RunSpec) -> None:
    engine = engine_modules(contents, model)[0]
    if engine == spec.engine:
        return
    kinds = {"rehearsal": "a rehearsal's tiny model", "musubi": "the real model"}
    raise RequestError(
        f"{name} is a LoRA for {kinds[engine]}; this run trains {kinds[spec.engine]}.",
        "Leave resume-from out, or choose a LoRA for the same engine.",
    )


def _require_settings(contents: Contents, name: str, expert: ExpertSpec) -> None:
    """Raise `RequestError` if the file's rank or alpha differs from the expert's settings.

    With a different rank the trainer would fail; with a different alpha it would apply the weights
    at the wrong strength.
    """
    settings, alpha = expert.settings, contents.alpha()
    whose = "" if expert.name == "main" else f" of the {expert.name} expert"
    if contents.rank != settings.rank:
        raise RequestError(
            f"{name} has rank {contents.rank}, but the {expert.name} expert is set to rank "
            f"{settings.rank}.",
            f"Set the rank{whose} to {contents.rank}, or choose a checkpoint of rank "
            f"{settings.rank}.",
        )
    if abs(alpha - settings.alpha) > _ALPHA_TOLERANCE * settings.alpha:
        raise RequestError(
            f"{name} has alpha {alpha:g}, but the {expert.name} expert is set to alpha "
            f"{settings.alpha:g}, which would change the LoRA's strength.",
            f"Set the alpha{whose} to {alpha:g}.",
        )
