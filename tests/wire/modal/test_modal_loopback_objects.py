"""Dicts and queues, and what may be listed."""

from decimal import Decimal
from pathlib import Path

import modal
import pytest

from tests.wire.modal.loopback.api import CommandError, Loopback

WEEK_SECONDS = 7 * 24 * 60 * 60


def test_a_key_is_created_only_once(shared: Loopback) -> None:
    leases = modal.Dict.from_name("leases", create_if_missing=True)

    created = [leases.put("run", owner, skip_if_exists=True) for owner in ("one", "two")]

    assert created == [True, False]
    assert leases["run"] == "one"


def test_a_dict_does_what_a_dict_does(shared: Loopback) -> None:
    its = modal.Dict.from_name("values", create_if_missing=True)
    its["a"] = {"nested": [1, 2]}
    its.update({"b": 2, "c": None})

    assert its.get("a") == {"nested": [1, 2]}
    assert its.get("none", "default") == "default"
    assert "c" in its
    assert "none" not in its
    assert its.len() == 3
    assert sorted(its.keys()) == ["a", "b", "c"]
    assert sorted(map(str, its.values())) == ["2", "None", "{'nested': [1, 2]}"]
    assert dict(its.items())["b"] == 2
    assert its.pop("b") == 2
    with pytest.raises(KeyError):
        its["b"]
    with pytest.raises(KeyError):
        its.pop("b")
    its.clear()
    assert its.len() == 0


def test_an_entry_goes_a_week_after_its_last_use(shared: Loopback) -> None:
    its = modal.Dict.from_name("progress", create_if_missing=True)
    its.update({"old": 1, "read": 2})
    shared.advance(WEEK_SECONDS - 60)
    assert its["read"] == 2

    shared.advance(120)

    assert "old" not in its
    assert its["read"] == 2


def test_a_dict_may_be_deleted_by_name(shared: Loopback) -> None:
    its = modal.Dict.from_name("short", create_if_missing=True)
    its["a"] = 1

    modal.Dict.objects.delete("short")

    with pytest.raises(modal.exception.NotFoundError):
        modal.Dict.from_name("short").hydrate()


def test_a_queue_hands_out_in_order_and_waits(shared: Loopback) -> None:
    queue = modal.Queue.from_name("events", create_if_missing=True)
    queue.put_many([1, 2, 3])
    queue.put("else", partition="other")

    assert queue.get() == 1
    assert queue.get_many(5) == [2, 3]
    assert queue.get(block=False) is None
    assert queue.len(total=True) == 1
    assert queue.get(partition="other") == "else"


def test_secrets_volumes_and_prices_are_listed(shared: Loopback) -> None:
    shared.create_secret("my-secret", {"KEY": "value"})
    modal.Volume.objects.create("models")
    shared.plane.listings.rates = {"gpu_h100": "0.001097"}

    assert [its.name for its in modal.Secret.objects.list()] == ["my-secret"]
    assert [its.name for its in modal.Volume.objects.list()] == ["models"]
    assert modal.Workspace.from_context().billing.rates()["gpu_h100"] == Decimal("0.001097")


def test_the_command_line_creates_secrets_and_looks_into_volumes(
    shared: Loopback, tmp_path: Path
) -> None:
    (tmp_path / "clip.txt").write_text("a caption")
    modal.Volume.objects.create("by-command")

    shared.run("secret", "create", "by-command", "KEY=value")
    shared.run("volume", "put", "by-command", tmp_path / "clip.txt", "/clips/clip.txt")
    listed = shared.run("volume", "ls", "by-command", "/clips")
    shared.run("volume", "get", "by-command", "/clips/clip.txt", tmp_path / "back.txt")

    assert "clip.txt" in listed
    assert (tmp_path / "back.txt").read_text() == "a caption"
    with pytest.raises(CommandError, match="already exists"):
        shared.run("secret", "create", "by-command", "KEY=other")
    secret_id = shared.plane.names.get("Secret", "by-command") or ""
    assert shared.plane.secrets.variables(secret_id) == {"KEY": "value"}


def test_a_volume_may_be_deleted_by_name(shared: Loopback) -> None:
    modal.Volume.objects.create("short")

    modal.Volume.objects.delete("short")

    with pytest.raises(modal.exception.NotFoundError):
        modal.Volume.from_name("short").hydrate()
