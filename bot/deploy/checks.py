"""What a deployment on Modal must have, looked at part by part with the operator's own token."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import get_args

from pydantic import ValidationError

from bot.deploy import account
from bot.doctor.finding import CheckResult, failed, fine, refused, unchecked
from bot.hosting.startup_report import StartWord, key
from bot.web.health import why_unwell
from training.deployment.code_version import (
    BOT_CODE,
    CODE_LABEL,
    DEPLOY_LABEL,
    ENGINE_LABEL,
    STAGES_CODE,
    code_version,
    engine_of,
)
from training.deployment.modal_prices import RATES
from training.deployment.names import Deployment, Purpose
from training.deployment.resources import BOT_FUNCTIONS, FUNCTIONS, FunctionName
from training.errors import BackendError, TrainingError
from training.estimates.prices import (
    CPU_RATE,
    HOUR_SECONDS,
    LISTED,
    LISTED_ON,
    MEMORY_RATE,
    STORAGE_RATE,
    listed_prices,
)

TOKEN, VOLUMES, DICTS = "Modal token", "Modal Volumes", "Modal Dicts"
STAGES, FUNCTIONS_THERE = "stages' app", "deployed Functions"
BOT_APP, HEALTH, PRICES = "bot's app", "bot's server", "Modal prices"
# The copied list has rounded prices a second.
_ROUNDING = 0.01
# Names of one card; the client sends what it is given, the service may answer with either.
_SAME_CARD = {"A10G": "A10"}


def deploy_command(deployment: Deployment) -> str:
    """Return the command that deploys, or deploys again with the settings from before."""
    return f"lorabot deploy --app {deployment.name}"


def log_command(deployment: Deployment) -> str:
    """Return the command that shows what the bot prints."""
    return f"modal app logs {deployment.bot_app}"


def secret_command(name: str, keys: tuple[str, ...], *, is_there: bool = False) -> str:
    """Return the command that makes a secret; of one that is there all keys are set anew."""
    values = " ".join(f"{key}=..." for key in keys)
    return f"modal secret create {name} {values}{' --force' if is_there else ''}"


def secret_finding(name: str, keys: tuple[str, ...]) -> CheckResult:
    """Return whether a secret is there with its keys, and else the command that makes it."""
    check, state = f"secret {name}", account.secret_state(name, keys)
    if state == "there":
        return fine(check, f"has {', '.join(keys)}; the values cannot be read")
    text = "There is none." if state == "missing" else f"It lacks {', '.join(keys)}."
    return failed(check, text, secret_command(name, keys, is_there=state != "missing"))


def modal_findings(deployment: Deployment, *, is_wanted: bool) -> Iterator[CheckResult]:
    """Look at a deployment, part by part; what cannot be asked says why.

    Args:
        deployment: Its names.
        is_wanted: Whether a machine without a token of Modal is one that lacks it.
    """
    looks = _looks(deployment)
    try:
        name = account.workspace()
        own = engine_of(account.labels(deployment.stages_app))
        deployment = replace(deployment, engine=own or deployment.engine)
    except TrainingError as error:
        # A network that fails is told even to those who did not ask for Modal.
        if is_wanted or isinstance(error, BackendError):
            yield refused(TOKEN, error)
        else:
            yield unchecked(TOKEN, f"{error.cause} To host there: {error.fix}")
        yield from (unchecked(check, "it needs a token of Modal") for check in looks)
        return
    yield fine(TOKEN, f"of the workspace {name}")
    for check, look in _looks(deployment).items():
        try:
            yield look()
        except TrainingError as error:
            yield refused(check, error)


def _looks(deployment: Deployment) -> dict[str, Callable[[], CheckResult]]:
    """Return all that is looked at, in its order."""
    secrets = {
        f"secret {name}": partial(secret_finding, name, keys)
        for name, keys in deployment.secrets.items()
    }
    of_deployment = {
        VOLUMES: _volumes,
        DICTS: _dictionaries,
        STAGES: _stages,
        FUNCTIONS_THERE: _functions,
        BOT_APP: _bot,
        HEALTH: _health,
    }
    looks = {check: partial(look, deployment) for check, look in of_deployment.items()}
    return {**secrets, **looks, PRICES: _prices}


def _volumes(deployment: Deployment) -> CheckResult:
    versions = {
        name: account.volume_version(name) for name in map(deployment.volume, deployment.areas)
    }
    if missing := [name for name, version in versions.items() if version is None]:
        text = f"{', '.join(missing)}: not there; deploying makes them."
        return failed(VOLUMES, text, deploy_command(deployment))
    if wrong := [name for name, version in versions.items() if version != 1]:
        return failed(
            VOLUMES,
            f"{', '.join(wrong)}: of version 2, which is not what this is written for.",
            "Save what is in them, remove them with `modal volume delete`, and deploy again.",
        )
    return fine(VOLUMES, f"{', '.join(versions)}, of version 1")


def _dictionaries(deployment: Deployment) -> CheckResult:
    names = [deployment.dictionary(purpose) for purpose in get_args(Purpose)]
    missing = [name for name in names if not account.has_dictionary(name)]
    if missing:
        there = f"{len(names) - len(missing)} of {len(names)} are there"
        return fine(DICTS, f"{there}; made when first needed: {', '.join(missing)}")
    return fine(DICTS, ", ".join(names))


def _stages(deployment: Deployment) -> CheckResult:
    return _app(STAGES, deployment, deployment.stages_app, STAGES_CODE)


def _bot(deployment: Deployment) -> CheckResult:
    return _app(BOT_APP, deployment, deployment.bot_app, BOT_CODE)


def _app(check: str, deployment: Deployment, app: str, packages: tuple[str, ...]) -> CheckResult:
    found = account.labels(app)
    if found is None:
        return failed(check, f"{app} is not deployed.", deploy_command(deployment))
    if found.get(CODE_LABEL) != code_version(*packages):
        text = f"{app} is deployed from other code than this."
        return failed(check, text, deploy_command(deployment))
    engine = found.get(ENGINE_LABEL)
    if engine != deployment.engine:
        text = f"{app} is of a deployment with {engine}, and its stages of one with another engine."
        return failed(check, text, deploy_command(deployment))
    return fine(check, f"{app}, of this version of the code, trains with {engine}")


def _functions(deployment: Deployment) -> CheckResult:
    if account.labels(deployment.stages_app) is None:
        return unchecked(FUNCTIONS_THERE, f"{deployment.stages_app} is not deployed")
    wrong = [text for name in FUNCTIONS if (text := _difference(deployment, name))]
    if wrong:
        return failed(FUNCTIONS_THERE, f"{'; '.join(wrong)}.", deploy_command(deployment))
    return fine(FUNCTIONS_THERE, f"{len(FUNCTIONS)}, each with the resources of this version")


def _difference(deployment: Deployment, name: FunctionName) -> str:
    """Return in what a deployed Function differs from this version, empty when in nothing."""
    app = deployment.bot_app if name in BOT_FUNCTIONS else deployment.stages_app
    found, wanted = account.deployed_function(app, name), FUNCTIONS[name]
    if found is None:
        return f"{name} is missing"
    pairs: dict[str, tuple[object, object]] = {
        "GPUs": ([_SAME_CARD.get(card, card) for card in found.gpu], list(wanted.gpu)),
        "cores": (found.cpu, wanted.cpu),
        "MiB of memory": (found.memory_mib, round(wanted.memory_gib * 1024)),
        "seconds": (found.timeout_seconds, wanted.timeout_seconds),
        "retries": (found.retries, wanted.retries),
        "Volumes at": (sorted(found.mounts), sorted(map(deployment.mount_path, wanted.areas))),
    }
    others = [f"{what} {is_}, not {to_be}" for what, (is_, to_be) in pairs.items() if is_ != to_be]
    return f"{name} has {', '.join(others)}" if others else ""


def _health(deployment: Deployment) -> CheckResult:
    url = account.server_url(deployment.bot_app, "Bot")
    if url is None:
        return failed(HEALTH, "The bot has no address.", deploy_command(deployment))
    newest = (account.labels(deployment.bot_app) or {}).get(DEPLOY_LABEL, "")
    word, why = start_word(replace(deployment, deploy=newest)), why_unwell(url)
    if word is not None and word.cause:
        serves = f"{url} {why}" if why else "The copy before it still serves"
        text = f"What was deployed last cannot start: {word.cause} {word.fix} {serves}."
        return failed(HEALTH, text, log_command(deployment))
    if why:
        return failed(HEALTH, f"{url} {why}.", log_command(deployment))
    return fine(HEALTH, f"{url} answers, and the bot is connected to Discord")


def start_word(deployment: Deployment) -> StartWord | None:
    """Return how the bot of this deploy said last that it started; None when it has not yet."""
    try:
        said = account.entry(deployment.dictionary("progress"), key(deployment.deploy))
        return StartWord.model_validate_json(str(said)) if said is not None else None
    except ValidationError:
        return None


def _prices() -> CheckResult:
    try:
        rates = account.rates()
    except TrainingError as error:
        return unchecked(PRICES, f"{error.cause.rstrip('.')}. The list of {LISTED_ON} is used.")
    listed = _listed()
    if missing := [name for name in listed if name not in rates]:
        why = f"Modal does not name {', '.join(missing)}; the list of {LISTED_ON} is used"
        return unchecked(PRICES, why)
    changed = [
        f"{name} ${usd:.4g} -> ${rates[name]:.4g}"
        for name, usd in listed.items()
        if abs(usd - rates[name]) > _ROUNDING * usd
    ]
    if changed:
        return fine(PRICES, f"live; changed since the list of {LISTED_ON}: {', '.join(changed)}")
    return fine(PRICES, f"live, as in the list of {LISTED_ON}")


def _listed() -> dict[str, float]:
    """Return the listed prices by the names of the live ones: an hour's, for storage a month's."""
    cards = listed_prices()
    return {
        **{name: cards.usd_per_hour(card) for card, name in RATES.items()},
        CPU_RATE: LISTED.core_second * HOUR_SECONDS,
        MEMORY_RATE: LISTED.gib_second * HOUR_SECONDS,
        STORAGE_RATE: LISTED.gib_month,
    }
