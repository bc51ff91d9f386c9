"""What `resume-from` names: a stored LoRA file, or a checkpoint of an earlier run."""

import re
from pathlib import Path

from training import store_keys
from training.catalogue.models import Expert, Model, find_model
from training.errors import NotFoundError, RequestError
from training.files.atomic import link_or_copy
from training.files.hashing import file_sha256
from training.files.parallel import AT_ONCE, each
from training.lora.contents import Contents, read_contents
from training.lora.fit import require_fit, require_values
from training.pipeline.runtime import Runtime
from training.registry.loras import Loras, engine_modules
from training.runs.event_log import DamagedRunError
from training.runs.hyperparameters import split_value
from training.runs.spec import ExpertSpec, RunSpec, StartingPoint
from training.store_keys import RunKeys
from training.vocabulary import ExpertName

# As an adapter's alpha comes back from bf16, which has eight bits.
_ALPHA_TOLERANCE = 2.0**-8
_ENOUGH = 25  # as many as a chat shows
_OF_RUN = re.compile(r"(?P<run>[^/]+)/(?:(?P<expert>main|high|low)-)?e(?P<epoch>\d{1,6})")


class InitialWeights:
    """Resolves what experts start from, and keeps a run's own copy of it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._checkpoints = Loras(runtime.store)

    def resolve(self, spec: RunSpec, text: str | None) -> RunSpec:
        """Return `spec` with what `text` says its experts start from, one value for all or each.

        Raises:
            NotFoundError: The guild has no such checkpoint.
            RequestError: It is of another engine, expert, rank or alpha.
            AdapterError: The file does not fit the model.
        """
        if not text:
            return spec
        names: tuple[ExpertName, ...] = tuple(expert.name for expert in spec.experts)
        given = split_value("resume_from", text, names)
        experts = tuple(
            expert.model_copy(update={"start": self._start(spec, expert, given[expert.name])})
            if expert.name in given
            else expert
            for expert in spec.experts
        )
        return spec.model_copy(update={"experts": experts})

    def keep(self, spec: RunSpec) -> None:
        """Give a run its own copy of every file that it starts from; twice is fine.

        Raises:
            NotFoundError: The source has been removed since it was named.
            RequestError: The source has changed since it was named.
        """
        for expert in spec.experts:
            if expert.start is None:
                continue
            store = self._runtime.store
            key = spec.keys.initial_weights(expert.name, expert.start.sha256)
            if store.exists(key):
                continue
            source = self._source(spec, expert.name, expert.start)
            if file_sha256(source) != expert.start.sha256:
                raise RequestError(
                    f"{expert.start.source} has changed since it was named.", "Try it again."
                )
            target = store.staging_path(key)
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(source, target)
            store.keep(key)

    def names(self, guild: str, typed: str = "") -> dict[str, str]:
        """Return what can be named in a guild and fits what was typed, each with a description.

        Of runs only as many as anybody looks through are read; a damaged one is left out.
        """
        wanted = typed.strip().lower().partition("/")[0]
        found = {
            record.name: f"{record.name} ({record.model}, {record.expert}, rank {record.rank})"
            for record in self._checkpoints.all(guild)
            if wanted in record.name
        }
        store = self._runtime.store
        fitting = [run for run in reversed(store.names(store_keys.runs(guild))) if wanted in run]
        for first in range(0, len(fitting), AT_ONCE):
            if len(found) >= _ENOUGH:
                break
            some = fitting[first : first + AT_ONCE]
            for named in each(lambda run: self._checkpoints_of(guild, run), some):
                found = named | found
        return found

    def _checkpoints_of(self, guild: str, run: str) -> dict[str, str]:
        """Return what can be named of a run; nothing of one that is open or damaged."""
        if not self._runtime.store.exists(RunKeys(guild, run).ended):
            return {}
        try:
            state = self._runtime.log(guild, run).load()
        except DamagedRunError:
            return {}
        return {
            (name := f"{run}/{expert.name}-e{checkpoint.epoch}"): (
                f"{name} (rank {expert.settings.rank})"
            )
            for expert in state.spec.experts
            for checkpoint in reversed(state.expert(expert.name).checkpoints)
        }

    def _start(self, spec: RunSpec, expert: ExpertSpec, reference: str) -> StartingPoint:
        file, shown = self._named(spec.guild, expert.name, reference), reference.strip()
        model = find_model(spec.model)
        trained = model.expert(expert.name)
        self._require_binding(spec.guild, shown, model, trained)
        contents = read_contents(file)
        _require_engine(contents, shown, model, spec)
        modules = engine_modules(contents, model)[1]
        require_fit(contents, model=model, expert=trained, modules=modules)
        _require_settings(contents, shown, expert)
        if "/" in reference:
            # A stored file was checked when it was added.
            require_values(contents)
        return StartingPoint(source=shown, sha256=file_sha256(file))

    def _require_binding(self, guild: str, name: str, model: Model, expert: Expert) -> None:
        """Raise when a stored file was added for another kind of model or another expert."""
        if "/" in name:
            return
        record = self._checkpoints.find(guild, name)
        family = find_model(record.model).family
        if (family, record.expert) == (model.family, expert.name):
            return
        which = f"{record.model}, expert {record.expert}"
        raise RequestError(
            f"{name} is bound to {which}; this would start {model.name}, expert {expert.name}.",
            f"Name it for its own expert alone, as {record.expert}={name}, or choose another."
            if family == model.family
            else f"Train {record.model}, or choose another checkpoint.",
        )

    def _named(self, guild: str, expert: ExpertName, reference: str) -> Path:
        """Return the file that a reference names for an expert."""
        name = reference.strip()
        if "/" not in name:
            self._checkpoints.find(guild, name)
            return self._checkpoints.file(guild, name)
        match = _OF_RUN.fullmatch(name)
        if match is None:
            raise RequestError(
                f"{name[:80]!r} names no checkpoint of a run.",
                "Write run-name/high-e20, or run-name/e20 for the expert that is trained.",
            )
        if match["expert"] not in (None, expert):
            raise RequestError(
                f"{name} is of the {match['expert']} expert; it cannot start {expert}.",
                _own_expert(match["expert"], name, f"{match['run']}/e{match['epoch']}", expert),
            )
        run = self._runtime.log(guild, match["run"]).load()
        saved = run.expert(expert).checkpoints
        for checkpoint in reversed(saved):
            if checkpoint.epoch == int(match["epoch"]):
                folder = RunKeys(guild, match["run"]).folder
                return self._runtime.store.fetch(f"{folder}/{checkpoint.file}")
        have = ", ".join(f"e{c.epoch}" for c in saved) or "none"
        raise NotFoundError(
            f"{match['run']} has no checkpoint of epoch {match['epoch']} of its {expert} expert.",
            f"It has: {have}.",
        )

    def _source(self, spec: RunSpec, expert: ExpertName, start: StartingPoint) -> Path:
        if start.kept_by is not None:
            # The checkpoint may have been removed since; the old run kept its copy.
            kept = RunKeys(spec.guild, start.kept_by).initial_weights(expert, start.sha256)
            return self._runtime.store.fetch(kept)
        return self._named(spec.guild, expert, start.source)


def _own_expert(of: str, name: str, of_each: str, trained: ExpertName) -> str:
    """Return what to give in place of a checkpoint of another expert than the trained one."""
    if trained == "main":
        return "The model has a single expert: give a checkpoint of a run of that model."
    return f"Name it for its own expert alone, as {of}={name}, or give {of_each} for each its own."


def _require_engine(contents: Contents, name: str, model: Model, spec: RunSpec) -> None:
    engine = engine_modules(contents, model)[0]
    if engine == spec.engine:
        return
    kinds = {"rehearsal": "a rehearsal's tiny model", "musubi": "the real model"}
    raise RequestError(
        f"{name} is a LoRA of {kinds[engine]}; this run trains {kinds[spec.engine]}.",
        "Leave resume-from out, or choose one that was made the same way.",
    )


def _require_settings(contents: Contents, name: str, expert: ExpertSpec) -> None:
    """Raise when rank or alpha differ: the trainer would fail, or scale the file wrongly."""
    settings, alpha = expert.settings, contents.alpha()
    each = "" if expert.name == "main" else f"{expert.name}="
    if contents.rank != settings.rank:
        raise RequestError(
            f"{name} has rank {contents.rank}; the {expert.name} expert would be trained with "
            f"rank {settings.rank}.",
            f"Give rank:{each}{contents.rank}, or choose a checkpoint of rank {settings.rank}.",
        )
    if abs(alpha - settings.alpha) > _ALPHA_TOLERANCE * settings.alpha:
        raise RequestError(
            f"{name} has alpha {alpha:g}; the {expert.name} expert would be trained with alpha "
            f"{settings.alpha:g}, which would change its strength.",
            f"Give alpha:{each}{alpha:g}.",
        )
