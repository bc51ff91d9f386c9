"""Stores training requests while the user decides on their plans.

Until a run starts, its draft is all that is stored.
"""

from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, ValidationError

from training import store_keys
from training.errors import NotFoundError
from training.operations.run_drafts import Requester
from training.operations.run_plans import RunPlan, changes
from training.ports import Store
from training.remedies import StartRun
from training.runs.spec import RunSpec, TrainRequest

PLAN_LIFE = timedelta(hours=1)  # pressing Start on an older plan only shows the plan again


class Draft(BaseModel):
    """A request, and its plan as it was last shown.

    Attributes:
        number: How many times the plan has been shown. The buttons below the plan carry this number
            as it was when they were shown.
        shown_at: When the plan was last shown.
        shown: The run as it was shown.
        shown_usd: The cost that was shown.
        typed: Changed settings that were refused, so that the user need not type them again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: TrainRequest
    requester: Requester
    number: int
    shown_at: datetime
    shown: RunSpec
    shown_usd: float
    typed: str = ""

    @classmethod
    def of(
        cls, plan: RunPlan, request: TrainRequest, requester: Requester, *, number: int = 1
    ) -> "Draft":
        return cls(
            request=request,
            requester=requester,
            number=number,
            shown_at=plan.at,
            shown=plan.spec,
            shown_usd=plan.estimate.usd,
        )

    @property
    def valid_until(self) -> datetime:
        return self.shown_at + PLAN_LIFE

    def outdated(self, number: int, plan: RunPlan) -> tuple[str, ...]:
        """Return the reasons to show the plan again instead of starting the run; () to start it.

        Args:
            number: The number that the pressed button carries.
            plan: The current plan.
        """
        reasons = changes(self.shown, self.shown_usd, plan)
        if number != self.number and not reasons:
            reasons = ("The plan was changed elsewhere.",)
        if plan.at > self.valid_until and not reasons:
            reasons = ("The plan was more than an hour old. Nothing in it has changed.",)
        return reasons


class Drafts:
    """The drafts of all guilds, each stored under its request's token."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, draft: Draft) -> Draft:
        """Store a draft, replacing an earlier one with the same token."""
        key = _key(draft.requester.guild, draft.requester.token)
        self._store.write(key, draft.model_dump_json().encode())
        return draft

    def find(self, guild: str, token: str) -> Draft:
        """Return a draft.

        Raises:
            NotFoundError: The draft was dismissed or deleted, or another version of the bot stored
                it in a different format.
        """
        try:
            return Draft.model_validate_json(self._store.read(_key(guild, token)))
        except (FileNotFoundError, ValidationError) as error:
            raise NotFoundError(
                "This plan has expired or was dismissed. Nothing was started.",
                "Ask for the run again.",
                StartRun(),
            ) from error

    def forget(self, draft: Draft) -> None:
        self._store.delete(_key(draft.requester.guild, draft.requester.token))


def is_old(data: bytes, before: datetime) -> bool:
    """Return whether a stored draft was last shown before the given time, or cannot be read."""
    try:
        return Draft.model_validate_json(data).shown_at < before
    except ValidationError:
        return True


def _key(guild: str, token: str) -> str:
    return f"{store_keys.drafts(guild)}/{token}.json"
