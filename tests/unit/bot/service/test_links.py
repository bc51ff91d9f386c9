"""Signed links: their targets and refusals."""

import pytest

from bot.service.links import LinkExpiredError, LinkForgedError, LinkSigner, Target

FILE = "checkpoints/high/annika-high-000005.safetensors"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def signer(clock: Clock | None = None, secret: bytes = b"s" * 32) -> LinkSigner:
    return LinkSigner(secret, "https://bot.example", clock or Clock())


def parts(url: str) -> tuple[str, str]:
    _, token, name = url.removeprefix("https://bot.example/").split("/")
    return token, name


def test_link_leads_to_exactly_the_file_it_was_made_for() -> None:
    links = signer()

    found = links.read(*parts(links.link("42", "annika", FILE)))

    assert found == Target("42", "annika", FILE)


def test_archive_link_leads_to_the_run() -> None:
    links = signer()

    found = links.read_archive(*parts(links.archive_link("42", "annika")))

    assert found == Target("42", "annika")


def test_link_works_until_it_expires() -> None:
    clock = Clock()
    links = signer(clock)
    link = parts(links.link("42", "annika", FILE))

    clock.now += 24 * 60 * 60
    assert links.read(*link).run == "annika"

    clock.now += 1
    with pytest.raises(LinkExpiredError, match="Use /download again"):
        links.read(*link)


def test_hours_of_a_link_can_be_set() -> None:
    clock = Clock()
    links = LinkSigner(b"s" * 32, "https://bot.example", clock, hours=1)
    link = parts(links.link("42", "annika", FILE))

    clock.now += 3601

    with pytest.raises(LinkExpiredError, match="1 h"):
        links.read(*link)


def test_links_survive_a_restart_with_the_same_secret() -> None:
    link = parts(signer().link("42", "annika", FILE))

    assert signer().read(*link).guild == "42"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("42.", "43."),
        (".annika.", ".berta."),
        (".high.", ".low."),
        (".high.0.", ".high.1."),
        ("000005", "000010"),
    ],
)
def test_a_link_with_any_part_changed_is_refused(old: str, new: str) -> None:
    links = signer()
    link = links.link("42", "annika", FILE)

    with pytest.raises(LinkForgedError):
        links.read(*parts(link.replace(old, new)))


def test_link_signed_with_another_secret_is_refused() -> None:
    link = parts(signer(secret=b"t" * 32).link("42", "annika", FILE))

    with pytest.raises(LinkForgedError):
        signer().read(*link)


def test_the_time_of_a_link_cannot_be_changed() -> None:
    links = signer()
    token, name = parts(links.link("42", "annika", FILE))
    *others, stamp, signature = token.split(".")
    later = ".".join([*others, stamp[:-1] + ("A" if stamp[-1] != "A" else "B"), signature])

    with pytest.raises(LinkForgedError):
        links.read(later, name)


def test_the_stamp_of_an_archive_is_invalid_for_a_file() -> None:
    links = signer()
    token, _ = parts(links.archive_link("42", "annika"))
    guild, run, revoked, stamp, signature = token.split(".")

    with pytest.raises(LinkForgedError):
        links.read(f"{guild}.{run}.high.{revoked}.{stamp}.{signature}", "annika-high.safetensors")


@pytest.mark.parametrize(
    "token", ["", "a", "a.b.c", "a.b.c.d.e", "a.b.c.d.e.f", "ä.b.c.1.d.e", "a.b.high.-1.d.e"]
)
def test_rubbish_is_refused(token: str) -> None:
    with pytest.raises(LinkForgedError):
        signer().read(token, "a.safetensors")
    with pytest.raises(LinkForgedError):
        signer().read_archive(token, "a.zip")


@pytest.mark.parametrize(
    "file",
    [
        "spec.json",
        "checkpoints/high/annika-state/model.safetensors",
        "checkpoints/high/annika.txt",
        "checkpoints/other/annika.safetensors",
        "checkpoints/high/.hidden.safetensors",
        "checkpoints/high/../../spec.json",
        "checkpoints/high/..safetensors",
        "../berta/checkpoints/high/berta.safetensors",
        "/checkpoints/high/annika.safetensors",
        "checkpoints/high/annika.safetensors\n",
    ],
)
def test_only_checkpoints_can_be_linked(file: str) -> None:
    with pytest.raises(ValueError, match="not a checkpoint"):
        signer().link("42", "annika", file)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a.b", "x" * 65])
def test_invalid_names_of_guilds_and_runs_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot link to the run"):
        signer().link(name, "annika", FILE)
    with pytest.raises(ValueError, match="cannot link to the run"):
        signer().archive_link("42", name)


def test_a_link_without_a_web_address_is_a_bug() -> None:
    with pytest.raises(ValueError, match="base_url"):
        LinkSigner(b"s" * 32).link("42", "annika", FILE)


def test_typical_link_is_short_enough_for_a_message_with_twenty_of_them() -> None:
    run = "annika-wan22-i2v-lightning"
    link = signer().link(
        "123456789012345678", run, f"checkpoints/high/{run}-high-000050.safetensors"
    )

    assert len(link) < 200
