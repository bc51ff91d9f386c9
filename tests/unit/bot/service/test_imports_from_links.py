"""Imports from links: what is fetched, how it continues, and what is refused."""

import asyncio

import pytest
from aiohttp import web

from bot.messages.uploads import ImportProgress
from bot.service.imports.imports import (
    Imports,
)
from bot.service.imports.public_web import (
    AddressRefusedError,
    PublicWeb,
    WebRules,
    is_public,
)
from bot.service.imports.sources import Services, Sources
from bot.service.rights import GuildMember
from tests.unit.bot.service.file_server import HERE, Files, importer
from tests.unit.bot.web.upload_side import ADA, DATA, GUILD, UploadSide
from training.dataset.limits import Limits
from training.errors import RequestError
from training.registry.uploads import files as upload_files
from training.registry.uploads.session import DatasetTarget, RefusedUpload, UploadSession
from training.registry.uploads.sessions import TooLargeError, UploadSessions

COMMIT = "0123456789abcdef" * 2 + "01234567"
TARGET = DatasetTarget(name="annika", is_check=True)


def services(files: Files) -> Services:
    pages = frozenset({"127.0.0.1"})
    return Services(drive=files.url, drive_pages=pages, dropbox_pages=frozenset(), hub=files.url)


async def no_token(_repo: str) -> str | None:
    return None


async def ended(uploads: UploadSide, session: UploadSession) -> RefusedUpload | None:
    """Wait until an import has ended; return its refusal."""
    find = uploads.service.uploads.find
    async with asyncio.timeout(20):
        while (state := find(session.guild, session.id).state).result is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return state.result if isinstance(state.result, RefusedUpload) else None


async def begun(
    imports: Imports, uploads: UploadSide, address: str
) -> tuple[UploadSession, RefusedUpload | None]:
    session = await imports.begin(ADA, TARGET, address, channel=None)
    return session, await ended(uploads, session)


async def until_lost(imports: Imports) -> ImportProgress:
    """Wait until the only import has lost its connection."""
    async with asyncio.timeout(20):
        while (progress := imports.progress()[0]).status != "lost":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return progress


def fetched(uploads: UploadSide, session: UploadSession) -> list[tuple[str, int]]:
    sessions = UploadSessions(uploads.installation.runtime.store)
    return [(file.facts.path, file.received_bytes) for file in sessions.files(session)]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        *((private, False) for private in (
            *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
            *("100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fd00::1"),
            *("::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1", "2002:a00:1::"),
            *("ff02::1", "198.18.0.1", "192.0.2.1"),
        )),
    ],
)  # fmt: skip
def test_only_addresses_on_the_internet_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    "address",
    [
        *("http://127.0.0.1/a.zip", "http://localhost/a.zip", "http://[::1]/a.zip"),
        *("http://2130706433/a.zip", "http://0x7f.1/a.zip", "http://[::ffff:127.0.0.1]/a.zip"),
    ],
)
async def test_this_machine_and_its_network_cannot_be_reached(address: str) -> None:
    async with PublicWeb(WebRules(schemes=("http",))) as found:
        with pytest.raises(RequestError, match=r"not on the public internet|cannot import from"):
            async with found.get(address):
                pytest.fail("it was reached")


@pytest.mark.parametrize(
    "address",
    [
        *("http://example.org/a.zip", "ftp://example.org/a.zip", "file:///etc/passwd", "", "a b"),
        *("https://user:word@example.org/a.zip", "gopher://x", "https:///a.zip"),
    ],
)
async def test_only_plain_https_addresses_are_taken(address: str) -> None:
    async with PublicWeb() as found:
        with pytest.raises(AddressRefusedError, match="cannot import from this link"):
            async with found.get(address):
                pytest.fail("it was reached")


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("http://127.0.0.2/a.zip", "not on the public internet"),
        ("file:///etc/passwd", "cannot import from this link"),
        ("https://example.org/a.zip", "cannot import from this link"),
        ("{here}/again", "redirects too often"),
    ],
)
async def test_every_redirect_is_checked(files: Files, target: str, why: str) -> None:
    address = files.redirect("/again", target.format(here=files.url))
    async with PublicWeb(HERE) as found:
        with pytest.raises(AddressRefusedError, match=why):
            async with found.get(address):
                pytest.fail("it was reached")


async def test_a_token_goes_to_the_first_host_only(files: Files) -> None:
    target = files.serve("/storage").replace("127.0.0.1", "localhost")
    files.redirect("/repo", target)
    rules = WebRules(schemes=("http",), is_allowed=lambda _address: True)
    async with (
        PublicWeb(rules) as found,
        found.get(f"{files.url}/repo", {"Authorization": "Bearer hf_secret"}),
    ):
        first, second = files.asked

    assert first.headers["Authorization"] == "Bearer hf_secret"
    assert "Authorization" not in second.headers


async def test_a_zip_is_fetched_checked_and_kept(uploads: UploadSide, files: Files) -> None:
    imports = importer(files, uploads.service.uploads)
    address = files.serve("/annika.zip")

    session, refusal = await begun(imports, uploads, f"<{address}>")

    assert refusal is not None  # the bytes are no zip, so they reached the check
    assert fetched(uploads, session) == [("annika.zip", len(DATA))]
    assert session.source is not None
    assert session.source.host == "127.0.0.1"


async def test_a_cut_fetch_goes_on_where_it_stopped(uploads: UploadSide, files: Files) -> None:
    imports = importer(files, uploads.service.uploads)
    address = files.serve("/annika.zip")
    session = await imports.begin(ADA, TARGET, address, channel=None)
    await imports.stop()  # before it has fetched anything
    files.cut("/annika.zip", 4000)

    await imports.resume()
    await ended(uploads, session)

    ranges = [one.headers.get("Range") for one in files.asked if "Range" in one.headers]
    assert ranges == ["bytes=4000-"]
    assert fetched(uploads, session) == [("annika.zip", len(DATA))]


async def test_another_process_continues_an_import(uploads: UploadSide, files: Files) -> None:
    address = files.serve("/annika.zip")
    first = importer(files, uploads.service.uploads)
    session = await first.begin(ADA, TARGET, address, channel=None)
    await first.stop()

    await importer(files, uploads.service.uploads).resume()
    await ended(uploads, session)

    assert fetched(uploads, session) == [("annika.zip", len(DATA))]


async def test_a_file_that_changes_meanwhile_is_not_mixed(
    uploads: UploadSide, files: Files
) -> None:
    imports = importer(files, uploads.service.uploads)
    address = files.serve("/annika.zip")
    session = await imports.begin(ADA, TARGET, address, channel=None)
    await imports.stop()
    whole = files.answers["/annika.zip"]
    files.serve("/annika.zip", DATA[::-1], ETag='"2"')
    changed, files.answers["/annika.zip"] = files.answers["/annika.zip"], whole
    files.cut("/annika.zip", 4000, then=changed)

    await imports.resume()
    refusal = await ended(uploads, session)

    assert refusal is not None
    assert "has changed since the import began" in refusal.cause


@pytest.mark.parametrize("date", ["", "Wed, 21 Oct 2026 07:28:00 GMT"])
async def test_a_file_without_etag_goes_on_by_its_date_or_starts_again(
    uploads: UploadSide, files: Files, date: str
) -> None:
    imports = importer(files, uploads.service.uploads)
    address = files.serve("/annika.zip", ETag="", Last_Modified=date)
    session = await imports.begin(ADA, TARGET, address, channel=None)
    await imports.stop()
    files.cut("/annika.zip", 4000)

    await imports.resume()
    await ended(uploads, session)

    asked = [(one.headers.get("Range"), one.headers.get("If-Range")) for one in files.asked]
    assert asked[-1] == (("bytes=4000-", date) if date else (None, None))
    assert fetched(uploads, session) == [("annika.zip", len(DATA))]


async def test_an_import_tells_how_far_it_is(uploads: UploadSide, files: Files) -> None:
    imports = importer(files, uploads.service.uploads, pauses=(30.0,))
    address = files.serve("/annika.zip")
    session = await imports.begin(ADA, TARGET, address, channel=None)
    (waiting,) = imports.progress()
    await imports.stop()
    files.cut("/annika.zip", 4000)

    await imports.resume()
    lost = await until_lost(imports)
    await imports.stop()

    assert (waiting.session.id, waiting.received_bytes) == (session.id, 0)
    assert lost.received_bytes == 4000
    assert imports.progress() == []


async def test_a_stopped_import_ends_at_once_and_leaves_nothing(
    uploads: UploadSide, files: Files
) -> None:
    imports = importer(files, uploads.service.uploads, pauses=(1e6,))
    address = files.serve("/annika.zip")
    session = await imports.begin(ADA, TARGET, address, channel=None)
    await imports.stop()
    files.cut("/annika.zip", 4000)
    await imports.resume()
    await until_lost(imports)

    with pytest.raises(RequestError, match="belongs to somebody else"):
        await imports.revoke(GuildMember(id="8", guild=GUILD), session.id)
    await imports.revoke(ADA, session.id)

    assert imports.progress() == []
    store = uploads.installation.runtime.store
    assert list(store.walk(f"guilds/{GUILD}/uploads")) == []


async def test_a_server_that_stays_away_is_reported_and_tried_again_on_request(
    uploads: UploadSide, files: Files
) -> None:
    imports = importer(files, uploads.service.uploads, pauses=(0.0,))
    address = files.serve("/annika.zip")
    whole = files.answers["/annika.zip"]
    session = await imports.begin(ADA, TARGET, address, channel=None)
    await imports.stop()

    async def away(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=503)

    files.answers["/annika.zip"] = away
    await imports.resume()
    refusal = await ended(uploads, session)
    files.answers["/annika.zip"] = whole
    again, _ = await begun(imports, uploads, address)

    assert refusal is not None
    assert "answered with HTTP 503" in refusal.cause
    assert again.id == session.id
    assert fetched(uploads, session) == [("annika.zip", len(DATA))]


async def test_a_full_disk_ends_an_import_which_then_goes_on_with_what_arrived(
    uploads: UploadSide, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    imports = importer(files, uploads.service.uploads)
    address = files.serve("/annika.zip")

    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(upload_files.os, "writev", full)
        session = await imports.begin(ADA, TARGET, address, channel=None)
        refusal = await ended(uploads, session)
    again, _ = await begun(imports, uploads, address)

    assert refusal is not None
    assert "The data received so far is kept" in refusal.cause
    assert again.id == session.id
    assert fetched(uploads, session) == [("annika.zip", len(DATA))]


async def test_a_revoked_import_stops(uploads: UploadSide, files: Files) -> None:
    imports = importer(files, uploads.service.uploads)
    session = await imports.begin(ADA, TARGET, files.serve("/annika.zip"), channel=None)
    await imports.stop()

    await uploads.service.uploads.revoke(ADA, session.id)
    await imports.resume()

    assert await uploads.service.uploads.open_imports() == []


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"Content_Type": "text/html"}, "shows a web page"),
        ({"Transfer_Encoding": "chunked"}, "does not report the file's size"),
    ],
)
async def test_pages_and_unknown_sizes_are_refused(
    files: Files, headers: dict[str, str], why: str
) -> None:
    async def chunked(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(DATA)
        return response

    files.serve("/download", DATA, **headers)
    if "Transfer_Encoding" in headers:
        files.answers["/download"] = chunked
    async with PublicWeb(HERE) as found:
        sources = Sources(found, Limits(), services=services(files), token=no_token)
        with pytest.raises(AddressRefusedError, match=why):
            await sources.find(f"{files.url}/file/d/1aBcD_efGh-ijk/view")


async def test_a_size_beyond_the_limit_is_refused_before_it_is_fetched(files: Files) -> None:
    address = files.serve("/annika.zip")
    async with PublicWeb(HERE) as found:
        limits = Limits(archive_bytes=1000)
        plain = Services(drive_pages=frozenset(), dropbox_pages=frozenset())
        with pytest.raises(TooLargeError, match="the limits are"):
            await Sources(found, limits, services=plain, token=no_token).find(address)


@pytest.mark.parametrize(
    ("link", "address"),
    [
        (
            "https://drive.google.com/file/d/1aBcD_efGh-ijk/view?usp=sharing",
            "https://drive.usercontent.google.com/download?id=1aBcD_efGh-ijk&export=download&confirm=t",
        ),
        (
            "https://drive.google.com/open?id=1aBcD_efGh-ijk",
            "https://drive.usercontent.google.com/download?id=1aBcD_efGh-ijk&export=download&confirm=t",
        ),
        (
            "https://www.dropbox.com/scl/fi/abc/annika.zip?rlkey=k&dl=0",
            "https://www.dropbox.com/scl/fi/abc/annika.zip?rlkey=k&dl=1",
        ),
        (
            "https://huggingface.co/datasets/ann/clips/blob/main/annika.zip",
            "https://huggingface.co/datasets/ann/clips/resolve/main/annika.zip",
        ),
        ("https://example.org/annika.zip", "https://example.org/annika.zip"),
    ],
)
async def test_a_share_becomes_the_address_of_its_file(link: str, address: str) -> None:
    async with PublicWeb() as found:
        assert Sources(found, Limits(), token=no_token).direct(link) == address


async def test_a_share_of_drive_is_fetched(uploads: UploadSide, files: Files) -> None:
    """A copy of Drive: a page for each file, and a large file only if the warning is confirmed."""
    whole = files.serve("/x", DATA, Content_Disposition='attachment; filename="annika.zip"')
    send = files.answers[whole.removeprefix(files.url)]

    async def download(request: web.Request) -> web.StreamResponse:
        if request.query.get("confirm") != "t":
            return web.Response(text="Google Drive can't scan this file", content_type="text/html")
        return await send(request)

    files.answers["/download"] = download
    imports = importer(files, uploads.service.uploads, services=services(files))

    session, _ = await begun(
        imports, uploads, f"{files.url}/file/d/1aBcD_efGh-ijk/view?usp=sharing"
    )

    assert files.asked[0].query["id"] == "1aBcD_efGh-ijk"
    assert fetched(uploads, session) == [("annika.zip", len(DATA))]


async def test_a_share_of_dropbox_is_fetched(uploads: UploadSide, files: Files) -> None:
    """A copy of Dropbox: a page, or with dl=1 a redirect to another host that has the file."""
    disposition = "attachment; filename*=UTF-8''annika%20%C3%A4.zip"
    content = files.serve("/cd/0/get/abc/file", DATA, Content_Disposition=disposition)

    async def share(request: web.Request) -> web.StreamResponse:
        if request.query.get("dl") != "1":
            return web.Response(text="Sign in", content_type="text/html")
        there = content.replace("127.0.0.1", "localhost")
        return web.Response(status=302, headers={"Location": there})

    files.answers["/scl/fi/abc/annika.zip"] = share
    pages = Services(
        drive_pages=frozenset(), dropbox_pages=frozenset({"127.0.0.1"}), hub="http://127.0.0.1:1"
    )
    imports = importer(files, uploads.service.uploads, services=pages)

    address = f"{files.url}/scl/fi/abc/annika.zip?rlkey=k&dl=0"
    session, _ = await begun(imports, uploads, address)

    assert fetched(uploads, session) == [("annika ä.zip", len(DATA))]


async def test_a_drive_folder_is_refused_with_what_to_do() -> None:
    async with PublicWeb() as found:
        with pytest.raises(AddressRefusedError, match="Zip the folder in Drive"):
            Sources(found, Limits(), token=no_token).direct(
                "https://drive.google.com/drive/folders/1aBcD_efGh"
            )


async def test_a_dataset_on_the_hub_is_listed_page_by_page(files: Files) -> None:
    listing = f"{files.url}/api/datasets/ann/clips/tree/{COMMIT}?recursive=true&cursor=2"
    pages = [
        '[{"type":"directory","path":"a"},{"type":"file","path":"README.md","size":9},'
        '{"type":"file","path":"a/1 ä.png","size":5}]',
        '[{"type":"file","path":"a/1 ä.txt","size":7}]',
    ]

    async def page(request: web.Request) -> web.StreamResponse:
        number = 1 if "cursor" in request.query else 0
        link = {"Link": f'<{listing}>; rel="next"'} if number == 0 else {}
        return web.Response(text=pages[number], content_type="application/json", headers=link)

    async def revision(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"id": "ann/clips", "sha": COMMIT})

    files.answers["/api/datasets/ann/clips/revision/main"] = revision
    files.answers[f"/api/datasets/ann/clips/tree/{COMMIT}"] = page

    async def token(repo: str) -> str | None:
        return f"hf_{repo}"

    async with PublicWeb(HERE) as found:
        sources = Sources(found, Limits(), services=services(files), token=token)
        listed = await sources.find(f"{files.url}/datasets/ann/clips")

    assert [(file.path, file.size_bytes) for file in listed] == [("a/1 ä.png", 5), ("a/1 ä.txt", 7)]
    root = f"{files.url}/datasets/ann/clips/resolve/{COMMIT}"
    assert listed[0].url == f"{root}/a/1%20%C3%A4.png"
    assert all(file.is_immutable for file in listed)
    assert {one.headers["Authorization"] for one in files.asked} == {"Bearer hf_ann/clips"}
