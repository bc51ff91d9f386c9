"""What Modal's service refuses although its client lets it pass."""

import re
from typing import Any

import modal
import pytest

from tests.wire.modal.lookup import deployed
from tests.wire.modal.loopback.api import Loopback


def deploy(**settings: Any) -> None:
    """Deploy an app of one function with these settings."""
    app = modal.App("limits", image=modal.Image.debian_slim(python_version="3.11"))
    app.function(name="work", serialized=True, **settings)(lambda: None)

    app.deploy()


def test_settings_within_the_limits_deploy(shared: Loopback) -> None:
    deploy(timeout=86_400, retries=10, cpu=8, memory=98_304, ephemeral_disk=1_048_576, gpu="H100:8")

    assert deployed("limits", "work").info().timeout == 86_400


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"timeout": 86_401}, "timeout must be between 1 and 86400 seconds"),
        ({"timeout": 0}, "timeout must be between 1 and 86400 seconds"),
        ({"retries": 11}, "retries must be at most 10"),
        ({"cpu": 65.0}, "cpu must be at most 64"),
        ({"memory": 400_000}, "memory must be at most"),
        ({"ephemeral_disk": 4_000_000}, "ephemeral_disk must be at most 3145728 MiB"),
        ({"gpu": "H1000"}, "Unknown GPU type 'H1000'"),
        ({"gpu": "H100:9"}, "at most 8 GPUs"),
        ({"gpu": ["H100", "H1000"]}, "Unknown GPU type 'H1000'"),
        ({"gpu": "H100", "nonpreemptible": True}, "nonpreemptible is not supported"),
        ({"min_containers": 2, "max_containers": 1}, "min_containers"),
        ({"scaledown_window": 1_201}, "scaledown_window must be at most 1200 seconds"),
        ({"schedule": modal.Cron("61 * * * *")}, "Invalid cron schedule"),
        ({"schedule": modal.Cron("* * * *")}, "Invalid cron schedule"),
        ({"schedule": modal.Cron("* * * * *", timezone="Mars/Base")}, "Invalid cron schedule"),
    ],
)
def test_a_setting_beyond_its_limit_fails_the_deploy(
    shared: Loopback, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(modal.exception.InvalidError, match=re.escape(complaint)):
        deploy(**settings)


def test_options_of_a_call_have_the_same_limits(shared: Loopback) -> None:
    deploy()
    work = deployed("limits", "work")

    with pytest.raises(modal.exception.InvalidError, match="timeout must be between"):
        work.with_options(timeout=86_401).spawn()
    with pytest.raises(modal.exception.InvalidError, match="Unknown GPU type"):
        work.with_options(gpu="H1000").spawn()


def test_unknown_names_are_not_found(shared: Loopback) -> None:
    not_found = pytest.raises(modal.exception.NotFoundError)

    with not_found:
        modal.Volume.from_name("none").hydrate()
    with not_found:
        modal.Dict.from_name("none").hydrate()
    with not_found:
        modal.Secret.from_name("none").hydrate()
    with not_found:
        deployed("limits", "none").hydrate()
    with not_found:
        deployed("no-app", "work").hydrate()
    with not_found:
        modal.Volume.from_name("none", environment_name="dev", create_if_missing=True).hydrate()


def test_volumes_of_version_2_are_refused(shared: Loopback) -> None:
    with pytest.raises(modal.exception.UnimplementedError, match="version 1 only"):
        modal.Volume.from_name("new", version=2, create_if_missing=True).hydrate()


def test_a_workspace_that_has_spent_its_limit_creates_no_app(plane: Loopback) -> None:
    plane.settings.is_spend_limit_reached = True

    with pytest.raises(modal.exception.ResourceExhaustedError, match="spend limit reached"):
        deploy()


def test_a_workspace_that_has_spent_its_limit_still_shows_its_apps(plane: Loopback) -> None:
    before = modal.App.lookup("work").app_id

    plane.settings.is_spend_limit_reached = True

    assert modal.App.lookup("work").app_id == before


def test_a_busy_dict_asks_to_wait(plane: Loopback) -> None:
    entries = modal.Dict.from_name("busy", create_if_missing=True)
    entries["here"] = 1

    plane.settings.are_dicts_busy = True
    with pytest.raises(modal.exception.ResourceExhaustedError, match="wait and retry"):
        entries.get("here")

    plane.settings.are_dicts_busy = False
    assert entries.get("here") == 1
