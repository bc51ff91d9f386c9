"""Shows the plan of each requested run, and starts the run when the user confirms the plan."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from bot.installation import Installation
from bot.service.rights import GuildMember, Rights
from bot.service.server_settings import SettingsStore
from bot.service.threads import in_thread
from training.catalogue.models import MODELS, Model
from training.errors import RequestError
from training.estimates.steps_per_model import suited
from training.operations.drafts import Draft, Drafts
from training.operations.run_drafts import Requester
from training.operations.run_plans import RunPlan
from training.pipeline.leases import hold_lease
from training.runs.repeated_request import repeated_request
from training.runs.settings_toml import read_settings, write_settings
from training.runs.spec import RunSpec, TrainRequest
from training.vocabulary import EngineName


@dataclass(frozen=True, slots=True)
class ShownPlan:
    """A plan to show.

    Attributes:
        draft: The stored draft, which must be confirmed; None if the run has started.
        limit_usd: A run that may cost more than this always needs a confirmation.
        notes: Why the plan is shown again, if it is.
    """

    plan: RunPlan
    draft: Draft | None = None
    limit_usd: float = 0.0
    notes: tuple[str, ...] = ()


class PlanService:
    """Answers each request for a run with a plan, which is identified by the request's token.

    Methods that take a person raise `RequestError` unless that person requested the run or may act
    on other people's runs, and `NotFoundError` if the token has no draft. If the run has already
    started, methods that return a plan only return that run's plan.
    """

    def __init__(
        self,
        installation: Installation,
        rights: Rights,
        settings: SettingsStore,
        engine: EngineName,
    ) -> None:
        self._installation, self._rights, self._settings = installation, rights, settings
        self.engine: EngineName = engine
        self._drafts = Drafts(installation.runtime.store)

    async def ask(self, request: TrainRequest, requester: Requester) -> ShownPlan:
        """Start a run at once if it needs no confirmation; otherwise store a draft of the run.

        If the same interaction arrives twice, only one run is started.
        """

        def ask() -> ShownPlan:
            if (earlier := self._started(requester)) is not None:
                return earlier
            plan = self._plan(request, requester)
            limit_usd = self._settings.read(requester.guild).ask_above_usd
            if not plan.reasons_to_ask(limit_usd):
                return self._start(plan, requester, is_name_given=request.name is not None)
            return self._first(plan, request, requester)

        return await in_thread(ask)

    async def models_for(self, guild: str, dataset: str) -> tuple[Model, ...]:
        """Return the models that a dataset suits, in the catalogue's order.

        Raises:
            NotFoundError: The guild has no such dataset.
            RequestError: The dataset suits no model.
        """

        def find() -> tuple[Model, ...]:
            datasets = self._installation.datasets
            version = datasets.find_complete(guild, dataset)
            reasons = suited(datasets.report(guild, version))
            models = tuple(model for model in MODELS if reasons[model.name] is None)
            if not models:
                reason = next(filter(None, reasons.values()))
                raise RequestError(f"{dataset} suits no model: {reason}", "Add a new version.")
            return models

        return await in_thread(find)

    async def show(self, request: TrainRequest, requester: Requester) -> ShownPlan:
        """Store a draft and show its plan, even if the run would need no confirmation."""

        def show() -> ShownPlan:
            return self._first(self._plan(request, requester), request, requester)

        return await in_thread(show)

    async def show_again(self, run: str, requester: Requester) -> ShownPlan:
        """Show the plan of a new run with the same dataset version, experts and settings.

        Raises:
            NotFoundError: The guild has no such run, or the dataset version was removed.
            TrainingError: The settings no longer fit the dataset.
        """

        def read() -> TrainRequest:
            return repeated_request(self._installation.runtime.log(requester.guild, run).spec())

        return await self.show(await in_thread(read), requester)

    async def start(self, person: GuildMember, token: str, number: int) -> ShownPlan:
        """Start a run, or show its plan again if the shown plan is outdated.

        A plan is outdated if it has changed, if it is over an hour old, or if `number` is not the
        number of its newest message.
        """

        def start(draft: Draft) -> ShownPlan:
            plan = self._plan(draft.request, draft.requester)
            if notes := draft.outdated(number, plan):
                return self._show(self._again(draft, plan), plan, notes)
            is_given = draft.request.name is not None
            return self._start(plan, draft.requester, is_name_given=is_given)

        return await self._answer(person, token, "start", start)

    async def change(self, person: GuildMember, token: str, text: str) -> ShownPlan:
        """Replace a draft's settings with those in a TOML text.

        Raises:
            TrainingError: The settings are refused. The text is kept for the next attempt.
        """

        def change(draft: Draft) -> ShownPlan:
            self._drafts.keep(draft.model_copy(update={"typed": text}))
            return self._changed(draft, read_settings(text, draft.request, draft.shown))

        return await self._answer(person, token, "change", change)

    async def leave_out_single_frames(self, person: GuildMember, token: str) -> ShownPlan:
        def leave_out(draft: Draft) -> ShownPlan:
            settings = {**draft.request.settings, "items": "clips"}
            return self._changed(draft, draft.request.model_copy(update={"settings": settings}))

        return await self._answer(person, token, "change", leave_out)

    async def settings_text(self, person: GuildMember, token: str) -> str:
        """Return a draft's settings as TOML, or the last typed text if it was refused."""

        def read() -> str:
            draft = self._find(person, token, "change")
            return draft.typed or write_settings(draft.request, draft.shown)

        return await in_thread(read)

    async def dismiss(self, person: GuildMember, token: str) -> Draft | ShownPlan:
        """Delete a draft and return it."""

        def dismiss() -> Draft | ShownPlan:
            with self._alone(person.guild, token):
                if (earlier := self._started_with(person, token)) is not None:
                    return earlier
                draft = self._find(person, token, "dismiss")
                self._drafts.forget(draft)
                return draft

        return await in_thread(dismiss)

    async def _answer(
        self, person: GuildMember, token: str, act: str, answer: Callable[[Draft], ShownPlan]
    ) -> ShownPlan:
        def work() -> ShownPlan:
            with self._alone(person.guild, token):
                earlier = self._started_with(person, token)
                return earlier or answer(self._find(person, token, act))

        return await in_thread(work)

    @contextmanager
    def _alone(self, guild: str, token: str) -> Generator[None]:
        """Hold the plan's lease, so that the copies of the bot handle its answers one at a time."""
        with hold_lease(self._installation.runtime.leases, f"plan/{guild}/{token}"):
            yield

    def _find(self, person: GuildMember, token: str, act: str) -> Draft:
        draft = self._drafts.find(person.guild, token)
        self._rights.require_owner(person, draft.requester.by, what="This plan", act=act)
        return draft

    def _plan(self, request: TrainRequest, requester: Requester) -> RunPlan:
        return self._installation.runs.plan(request, requester, self.engine)

    def _changed(self, draft: Draft, request: TrainRequest) -> ShownPlan:
        plan = self._plan(request, draft.requester)
        return self._show(self._again(draft.model_copy(update={"request": request}), plan), plan)

    def _first(self, plan: RunPlan, request: TrainRequest, requester: Requester) -> ShownPlan:
        return self._show(Draft.of(plan, request, requester), plan)

    def _again(self, draft: Draft, plan: RunPlan) -> Draft:
        return Draft.of(plan, draft.request, draft.requester, number=draft.number + 1)

    def _show(self, draft: Draft, plan: RunPlan, notes: tuple[str, ...] = ()) -> ShownPlan:
        limit_usd = self._settings.read(draft.requester.guild).ask_above_usd
        return ShownPlan(plan, self._drafts.keep(draft), limit_usd, notes)

    def _start(self, plan: RunPlan, requester: Requester, *, is_name_given: bool) -> ShownPlan:
        start = self._installation.runs.start_planned
        return self._shown_start(start(plan, requester, is_name_given=is_name_given))

    def _started_with(self, person: GuildMember, token: str) -> ShownPlan | None:
        return self._started(Requester(guild=person.guild, by=person.id, token=token))

    def _started(self, requester: Requester) -> ShownPlan | None:
        spec = self._installation.runs.started(requester)
        return None if spec is None else self._shown_start(spec)

    def _shown_start(self, spec: RunSpec) -> ShownPlan:
        return ShownPlan(self._installation.runs.plan_of(spec))
