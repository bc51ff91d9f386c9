"""Bad input in chat is refused with cause and fix, and nothing is partly stored."""

import asyncio
import io
import stat
import zipfile
from pathlib import Path

import pytest

from bot.hosting.bot import RunningBot
from bot.hosting.local import LocalInstallation
from tests.media import guide_files, png, write_zip, zip_bytes
from tests.wire.bot.chat import Chat
from training.errors import TrainingError

GOOD = guide_files(images=1, clips=1, frames=49)


def link_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("images/000.png")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    return buffer.getvalue()


def encrypted_zip() -> bytes:
    """Return a zip whose only entry carries the encryption flag, in both of its headers."""
    data = bytearray(zip_bytes({"images/000.png": png()}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


def bomb() -> bytes:
    """Return a small zip that claims to unpack to 10 GB."""
    data = bytearray(zip_bytes({"images/000.png": b"\0" * 1000}))
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (4_000_000_000).to_bytes(4, "little")
    central = bytes(data[data.index(b"PK\x01\x02") : data.index(b"PK\x05\x06")])
    start = data.index(b"PK\x05\x06")
    end = data[start:]
    end[8:10] = end[10:12] = (3).to_bytes(2, "little")
    end[12:16] = (3 * len(central)).to_bytes(4, "little")
    return bytes(data[: start - len(central)]) + central * 3 + bytes(end)


BAD_ARCHIVES = {
    "not a zip": (b"this is a text file", "zip"),
    "empty zip": (zip_bytes({}), "empty"),
    "climbs out": (zip_bytes({**GOOD, "../../evil.txt": "x"}), "evil.txt"),
    "absolute name": (zip_bytes({**GOOD, "/etc/cron.d/evil": "x"}), "/etc/cron.d/evil"),
    "link": (link_zip(), "images/000.png"),
    "encrypted": (encrypted_zip(), "password"),
    "bomb": (bomb(), ""),
    "captions alone": (
        zip_bytes({name: data for name, data in GOOD.items() if name.endswith(".txt")}),
        "",
    ),
}


@pytest.mark.parametrize("case", BAD_ARCHIVES)
async def test_an_upload_that_cannot_be_used_is_refused_whole(
    case: str, ada: Chat, local: LocalInstallation, tmp_path: Path
) -> None:
    data, word = BAD_ARCHIVES[case]
    path = tmp_path / "annika.zip"
    path.write_bytes(data)

    text = await ada.refused("dataset add", name="annika", zip=path)

    assert word in text
    assert not [guild for guild in local.guilds() if local.datasets.names(guild)]
    assert not list(local.home.rglob("original.zip"))


async def test_a_part_of_a_split_zip_is_recognized_by_its_name(ada: Chat, tmp_path: Path) -> None:
    path = tmp_path / "set.zip.002"
    path.write_bytes(png()[8:])

    text = await ada.refused("dataset add", name="annika", zip=path)

    assert "one part of a split zip" in text
    assert "upload page" in text


@pytest.mark.parametrize("name", ["a/b", "../up", "x" * 200, "annika 🎬", "-", ""])
async def test_a_name_that_cannot_be_used_is_refused(
    name: str, ada: Chat, local: LocalInstallation, archive: Path
) -> None:
    if not name:
        with pytest.raises(TrainingError):  # the chat client requires it
            await ada.ask("dataset add", zip=archive)
        return

    text = await ada.refused("dataset add", name=name, zip=archive)

    assert "lower-case letters" in text
    assert not list(local.home.rglob("original.zip"))


async def test_an_attachment_over_the_limit_is_refused(
    ada: Chat, local: LocalInstallation, tmp_path: Path
) -> None:
    path = tmp_path / "annika.zip"
    path.write_bytes(b"\0" * (6 * 1024 * 1024))

    text = await ada.refused("dataset add", name="annika", zip=path)

    assert "the limit in chat is 5.0 MiB" in text
    assert not list(local.home.rglob("original.zip"))


async def test_impossible_requests_change_nothing(
    ada: Chat, local: LocalInstallation, archive: Path, tmp_path: Path
) -> None:
    stills = write_zip(tmp_path / "stills.zip", guide_files(images=3, clips=0))
    await ada.ask("dataset add", name="annika", zip=archive)
    await ada.ask("dataset add", name="stills", zip=stills)
    i2v, t2v = "wan21-i2v-720p", "wan21-t2v-1-3b"

    assert "learns movement from clips" in await ada.refused("train", model=i2v, dataset="stills")
    assert "no dataset called 'nobody'" in await ada.refused("train", model=t2v, dataset="nobody")
    assert "no version 9" in await ada.refused("train", model=t2v, dataset="annika@9")
    assert "'0'" in await ada.refused("train", model=t2v, dataset="annika", epochs="0")
    assert "'many'" in await ada.refused("train", model=t2v, dataset="annika", epochs="many")
    assert "valid name for a run" in await ada.refused(
        "train", model=t2v, dataset="annika", name="a/b"
    )
    assert "one of: B200" in await ada.refused("train", model=t2v, dataset="annika", gpu="GTX")
    lightning = {"model": "wan22-t2v-lightning", "dataset": "annika"}
    lightning["settings"] = "lightning-file=a/b"
    assert "owner/repo:path" in await ada.refused("train", **lightning)
    toml = tmp_path / "own.toml"
    toml.write_text("[[datasets]]\nvideo_directory = 'v'\ntarget_frame = [9]\n")
    own = await ada.refused("train", model=t2v, dataset="annika", dataset_toml=toml)
    assert "Did you mean target_frames?" in own
    config = {"model": t2v, "dataset": "annika", "dataset_config": "from-zip"}
    assert "no dataset TOML" in await ada.refused("train", **config)
    still = {"model": i2v, "dataset": "annika", "settings": "max-frames=1"}
    assert "single frame" in await ada.refused("train", **still)
    unknown = await ada.refused("train", model=t2v, dataset="annika", settings="alfa=8")
    assert "Did you mean alpha?" in unknown
    assert "no run called" in await ada.refused("cancel", run_name="nobody")
    assert "no run called" in await ada.refused("download", run_name="../../etc")
    assert "no run called" in await ada.refused("status", run_name="nobody")
    with pytest.raises(TrainingError):  # a chat client offers choices only
        await ada.ask("train", model="wan23", dataset="annika")

    assert not [run for guild in local.guilds() for run in local.runs.names(guild)]


async def test_a_run_takes_frames_resolution_or_a_toml_of_its_own(
    ada: Chat,
    local: LocalInstallation,
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LORABOT_STEP_DELAY", "0.5")
    toml = tmp_path / "own.toml"
    toml.write_text("[[datasets]]\nvideo_directory = 'v'\ntarget_frames = [9]\n")
    await ada.ask("dataset add", name="annika", zip=archive)
    model = "wan21-i2v-720p"

    own = await ada.ask("train", model=model, dataset="annika", name="own", dataset_toml=toml)
    await ada.ask(
        "train",
        model=model,
        dataset="annika",
        name="short",
        settings="max-frames=9, resolution=480p",
    )

    assert "has no source_fps" in own.text
    short = local.runtime.log(local.guilds()[0], "short").spec()
    assert (short.items.max_frames, short.items.resolution) == (9, "480p")
    for run in ("own", "short"):
        await ada.ask("cancel", run_name=run)


async def test_a_second_upload_of_a_name_is_version_2_and_says_so(
    ada: Chat, archive: Path, tmp_path: Path
) -> None:
    other = write_zip(tmp_path / "other.zip", guide_files(images=1, clips=1, frames=33))
    await ada.ask("dataset add", name="annika", zip=archive)

    second = await ada.ask("dataset add", name="annika", zip=other)
    same = await ada.ask("dataset add", name="annika", zip=archive)

    assert "annika@2" in second.text
    assert "Version 1 stays until you remove it" in second.text
    assert "annika@1" in same.text


async def test_a_run_without_checkpoints_has_nothing_to_download_yet(
    ada: Chat, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORABOT_STEP_DELAY", "0.5")
    await ada.ask("dataset add", name="annika", zip=archive)
    await ada.ask("train", model="wan21-t2v-1-3b", dataset="annika", name="slow")

    assert "no checkpoint yet" in await ada.refused("download", run_name="slow")

    await ada.ask("cancel", run_name="slow")
    await ada.ping("slow")
    assert "already ended (cancelled)" in await ada.refused("cancel", run_name="slow")


async def test_a_zip_with_a_report_gives_the_whole_report_as_a_file(
    ada: Chat, tmp_path: Path
) -> None:
    path = write_zip(tmp_path / "annika.zip", {**GOOD, "videos/001.mp4": b"no clip"})

    answer = await ada.ask("dataset add", name="annika", zip=path)
    message = await ada.user.wait_for(
        lambda m: any("report" in attached.filename for attached in m.attachments)
    )

    report = (await ada.user.download(message.attachments[0])).decode()
    assert "videos/001.mp4" in report
    assert "Leave bad files out" in answer.buttons


async def test_two_people_can_start_at_once(
    ada: Chat, ben: Chat, local: LocalInstallation, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORABOT_STEP_DELAY", "0.5")
    await ada.ask("dataset add", name="annika", zip=archive)
    model = "wan21-t2v-1-3b"

    answers = await asyncio.gather(
        ada.ask("train", model=model, dataset="annika"),
        ben.ask("train", model=model, dataset="annika"),
    )

    titles = sorted(str(answer.embeds[0]["title"]) for answer in answers)
    assert titles == [f"annika-{model}", f"annika-{model}-2"]
    for run in titles:
        await ada.card(run)
        owner = ada if str(answers[0].embeds[0]["title"]) == run else ben
        await owner.ask("cancel", run_name=run)


async def test_a_taken_run_name_is_refused(
    ada: Chat, bot: RunningBot, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORABOT_STEP_DELAY", "0.5")
    await ada.ask("dataset add", name="annika", zip=archive)
    options = {"model": "wan21-t2v-1-3b", "dataset": "annika", "name": "mine"}
    await ada.ask("train", **options)

    assert "already a run called 'mine'" in await ada.refused("train", **options)

    await ada.ask("cancel", run_name="mine")
