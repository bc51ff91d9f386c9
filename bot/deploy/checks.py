"""Checks of a Modal deployment, made with the operator's own token."""

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
# The built-in list has rounded prices per second.
_ROUNDING = 0.01
# Two names of one GPU: the service may answer with either.
_SAME_GPU = {"A10G": "A10"}


def deploy_command(deployment: Deployment) -> str:
    """Return the command that deploys, with the remembered settings."""
    return f"lorabot deploy --app {deployment.name}"


def log_command(deployment: Deployment) -> str:
    """Return the command that shows what the bot prints."""
    return f"modal app logs {deployment.bot_app}"


def secret_command(name: str, keys: tuple[str, ...], *, is_there: bool = False) -> str:
    """Return the command that creates a secret, or replaces all keys of an existing one."""
    values = " ".join(f"{key}=..." for key in keys)
    return f"modal secret create {name} {values}{' --force' if is_there else ''}"


def secret_finding(name: str, keys: tuple[str, ...]) -> CheckResult:
    """Check that a secret exists and has its keys."""
    check, state = f"secret {name}", account.secret_state(name, keys)
    if state == "there":
        return fine(check, f"has {', '.join(keys)}; the values cannot be read")
    text = "It does not exist." if state == "missing" else f"It lacks {', '.join(keys)}."
    return failed(check, text, secret_command(name, keys, is_there=state != "missing"))


def modal_findings(deployment: Deployment, *, is_wanted: bool) -> Iterator[CheckResult]:
    """Check a deployment, one part at a time.

    Args:
        deployment: The deployment to check.
        is_wanted: Whether a missing Modal token is a failure.
    """
    looks = _looks(deployment)
    try:
        name = account.workspace()
        own = engine_of(account.labels(deployment.stages_app))
        deployment = replace(deployment, engine=own or deployment.engine)
    except TrainingError as error:
        # A network failure is reported even if Modal is not wanted.
        if is_wanted or isinstance(error, BackendError):
            yield refused(TOKEN, error)
        else:
            yield unchecked(TOKEN, f"{error.cause} To host the bot on Modal: {error.fix}")
        yield from (unchecked(check, "it needs a Modal token") for check in looks)
        return
    yield fine(TOKEN, f"workspace {name}")
    for check, look in _looks(deployment).items():
        try:
            yield look()
        except TrainingError as error:
            yield refused(check, error)


def _looks(deployment: Deployment) -> dict[str, Callable[[], CheckResult]]:
    """Return all checks in order."""
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
        text = f"{', '.join(missing)}: missing; deploying creates them."
        return failed(VOLUMES, text, deploy_command(deployment))
    if wrong := [name for name, version in versions.items() if version != 1]:
        return failed(
            VOLUMES,
            f"{', '.join(wrong)}: version 2, which is not supported.",
            "Back up their files, delete them with `modal volume delete`, and deploy again.",
        )
    return fine(VOLUMES, f"{', '.join(versions)}, version 1")


def _dictionaries(deployment: Deployment) -> CheckResult:
    names = [deployment.dictionary(purpose) for purpose in get_args(Purpose)]
    missing = [name for name in names if not account.has_dictionary(name)]
    if missing:
        there = f"{len(names) - len(missing)} of {len(names)} exist"
        return fine(DICTS, f"{there}; created when first needed: {', '.join(missing)}")
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
        text = f"{app} runs a different version of the code."
        return failed(check, text, deploy_command(deployment))
    engine = found.get(ENGINE_LABEL)
    if engine != deployment.engine:
        text = f"{app} uses {engine}, but the deployed stages use another engine."
        return failed(check, text, deploy_command(deployment))
    return fine(check, f"{app}, this version, trains with {engine}")


def _functions(deployment: Deployment) -> CheckResult:
    if account.labels(deployment.stages_app) is None:
        return unchecked(FUNCTIONS_THERE, f"{deployment.stages_app} is not deployed")
    wrong = [text for name in FUNCTIONS if (text := _difference(deployment, name))]
    if wrong:
        return failed(FUNCTIONS_THERE, f"{'; '.join(wrong)}.", deploy_command(deployment))
    return fine(FUNCTIONS_THERE, f"{len(FUNCTIONS)}, each with this version's resources")


def _difference(deployment: Deployment, name: FunctionName) -> str:
    """Describe how a deployed Function differs from this version; empty if it does not."""
    app = deployment.bot_app if name in BOT_FUNCTIONS else deployment.stages_app
    found, wanted = account.deployed_function(app, name), FUNCTIONS[name]
    if found is None:
        return f"{name} is missing"
    pairs: dict[str, tuple[object, object]] = {
        "GPUs": ([_SAME_GPU.get(gpu, gpu) for gpu in found.gpu], list(wanted.gpu)),
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
        serves = f"{url} {why}" if why else "The previous copy still serves"
        text = f"The last deploy cannot start: {word.cause} {word.fix} {serves}."
        return failed(HEALTH, text, log_command(deployment))
    if why:
        return failed(HEALTH, f"{url} {why}.", log_command(deployment))
    return fine(HEALTH, f"{url} answers, and the bot is connected to Discord")


def start_word(deployment: Deployment) -> StartWord | None:
    """Return the startup report of this deploy, None if there is none yet."""
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
    """Return the built-in prices by Modal's names: per hour, storage per month."""
    prices = listed_prices()
    return {
        **{name: prices.usd_per_hour(gpu) for gpu, name in RATES.items()},
        CPU_RATE: LISTED.core_second * HOUR_SECONDS,
        MEMORY_RATE: LISTED.gib_second * HOUR_SECONDS,
        STORAGE_RATE: LISTED.gib_month,
    }
