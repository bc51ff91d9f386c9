"""Who may change what belongs to somebody else, and the settings that decide it."""

from pathlib import Path

import pytest

from bot.hosting.local import LocalInstallation
from bot.service.rights import GuildMember, Rights
from bot.service.server_settings import ServerSettings, SettingsStore
from bot.settings import Settings
from training import store_keys
from training.errors import RequestError

GUILD, TEAM = "10", "77"


@pytest.fixture
def local(tmp_path: Path) -> LocalInstallation:
    return LocalInstallation(Settings(home=tmp_path))


@pytest.fixture
def settings(local: LocalInstallation) -> SettingsStore:
    store = SettingsStore(local.runtime)
    store.change(GUILD, by="1", team_role=TEAM)
    return store


def allowed(settings: SettingsStore, person: GuildMember) -> bool:
    try:
        Rights(settings).require_owner(person, "1", what="The run x", act="cancel")
    except RequestError:
        return False
    return True


@pytest.mark.parametrize(
    ("person", "may"),
    [
        (GuildMember(id="1", guild=GUILD), True),
        (GuildMember(id="2", guild=GUILD), False),
        (GuildMember(id="2", guild=GUILD, roles=frozenset({TEAM})), True),
        (GuildMember(id="2", guild=GUILD, roles=frozenset({"78"})), False),
        (GuildMember(id="2", guild=GUILD, manages_server=True), True),
        # The same role id means nothing in a server that has not chosen it.
        (GuildMember(id="2", guild="11", roles=frozenset({TEAM})), False),
    ],
    ids=["owner", "stranger", "team", "another role", "manager", "team of another server"],
)
def test_owner_team_and_managers_may_act(
    settings: SettingsStore, person: GuildMember, *, may: bool
) -> None:
    assert allowed(settings, person) is may


def test_the_refusal_says_who_may(settings: SettingsStore) -> None:
    with pytest.raises(RequestError) as refused:
        Rights(settings).require_owner(
            GuildMember(id="2", guild=GUILD), "1", what="The run x", act="cancel"
        )

    assert refused.value.cause == "The run x belongs to somebody else."
    assert "the team role and members who manage the server can cancel it" in refused.value.fix


def test_the_operators_role_is_kept_until_a_manager_chooses(local: LocalInstallation) -> None:
    settings = SettingsStore(local.runtime)

    settings.begin_with_role(GUILD, "team", TEAM)
    settings.begin_with_role(GUILD, "team", "78")
    kept = settings.read(GUILD).team_role
    settings.begin_with_role(GUILD, "another", "79")
    other = settings.read(GUILD).team_role
    settings.change(GUILD, by="1", team_role=None, is_team_role_chosen=True)
    settings.begin_with_role(GUILD, "team", TEAM)

    assert (kept, other) == (TEAM, "79")
    assert settings.read(GUILD).team_role is None
    assert settings.read("11") == ServerSettings()
    history = local.runtime.store.read_all(store_keys.settings_of(GUILD))
    found = [ServerSettings.model_validate_json(data) for data in history.values()]
    assert [(one.team_role, one.changed_by) for one in found] == [
        (TEAM, ""),
        ("79", ""),
        (None, "1"),
    ]


def test_settings_that_cannot_be_read_give_nobody_rights(
    local: LocalInstallation, settings: SettingsStore
) -> None:
    local.runtime.store.write(store_keys.server_settings(GUILD, 2), b"{")

    assert not allowed(settings, GuildMember(id="2", guild=GUILD, roles=frozenset({TEAM})))
    assert allowed(settings, GuildMember(id="1", guild=GUILD))
