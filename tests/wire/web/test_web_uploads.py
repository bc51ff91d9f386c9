"""Uploads over HTTP: the protocol, the binding to one browser, and what abuse gets."""

import asyncio
import json
import logging
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from bot.service.rights import GuildMember
from bot.service.uploads.uploads import UploadLink
from bot.web.browser import LINK_HEADER
from bot.web.uploads.protocol import CONTENT_TYPE
from tests.media import zip_bytes
from tests.unit.bot.web.upload_side import (
    DATA,
    LocalSide,
    UploadSide,
    headers,
    token_of,
)
from training.errors import RequestError

ELSEWHERE = GuildMember(id="7", guild="43")


async def test_a_file_continues_at_the_byte_where_it_stopped(uploads: UploadSide) -> None:
    link, place = await uploads.begun()

    before = await uploads.offset(link, place)
    rest = await uploads.send(link, place, DATA[before:], before)

    assert before == 1000
    assert (rest.status_code, rest.headers["upload-offset"]) == (204, str(len(DATA)))
    assert await uploads.content(link) == DATA


@pytest.mark.parametrize("wrong", [0, 999, 1001])
async def test_bytes_for_another_place_change_nothing(uploads: UploadSide, wrong: int) -> None:
    link, place = await uploads.begun()

    answer = await uploads.send(link, place, b"x", wrong)

    assert answer.status_code == 409
    assert await uploads.received(link) == 1000


async def test_more_bytes_than_announced_are_refused(uploads: UploadSide) -> None:
    link, place = await uploads.begun()

    answer = await uploads.send(link, place, DATA, 1000)

    assert answer.status_code == 400
    assert "past the end of the file" in answer.json()["cause"]
    assert await uploads.received(link) == 1000


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Tus-Resumable": "0.2.2"}, 412),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Upload-Offset": "-1"}, 400),
        ({"Upload-Offset": "\u0661"}, 400),
        ({"Upload-Offset": "9" * 30}, 400),
    ],
)
async def test_requests_against_the_protocol_are_refused(
    uploads: UploadSide, changed: dict[str, str], status: int
) -> None:
    link, place = await uploads.begun()
    given = {"Upload-Offset": "1000", "Content-Type": CONTENT_TYPE, **changed}
    coded = {n.encode(): v.encode() for n, v in {**headers(link), **given}.items()}

    answer = await uploads.client.patch(place, headers=coded, content=b"x")

    assert answer.status_code == status
    assert await uploads.received(link) == 1000


@pytest.mark.parametrize("metadata", ["path %%%", "path gA=="])
async def test_metadata_that_nobody_can_read_is_refused(uploads: UploadSide, metadata: str) -> None:
    link = await uploads.link()
    place = await uploads.open(link)
    asked = {**headers(link), "Upload-Length": "1", "Upload-Metadata": metadata}

    answer = await uploads.client.post(f"{place}/files", headers=asked)

    assert answer.status_code == 400


async def test_a_browser_that_never_got_its_cookie_can_ask_again(uploads: UploadSide) -> None:
    link = await uploads.link()
    path = f"/uploads/{link.session}"
    async with httpx.AsyncClient(base_url=uploads.signer.base_url) as lost:
        assert (await lost.post(f"{path}/bind", headers=headers(link))).status_code == 204

    again = await uploads.client.post(f"{path}/bind", headers=headers(link))
    seen = await uploads.client.get(path, headers=headers(link))

    assert [answer.status_code for answer in (again, seen)] == [204, 200]


async def test_an_open_page_elsewhere_cannot_use_the_link(uploads: UploadSide) -> None:
    link, place = await uploads.begun()
    async with httpx.AsyncClient(base_url=uploads.signer.base_url) as another:
        bound = await another.post(f"/uploads/{link.session}/bind", headers=headers(link))
        seen = await another.get(f"/uploads/{link.session}", headers=headers(link))
        taken = await another.head(place, headers=headers(link))

    assert [answer.status_code for answer in (bound, seen, taken)] == [403] * 3
    assert "opened in another browser" in bound.json()["cause"]


async def test_two_tabs_of_one_browser_share_the_link_but_not_a_file(
    uploads: UploadSide,
) -> None:
    link, place = await uploads.begun()
    began, may_end = asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(
        uploads.send_in_two(link, place, (DATA[1000:2000], DATA[2000:]), 1000, began, may_end)
    )
    await began.wait()

    while (second := await uploads.send(link, place, DATA[1000:], 1000)).status_code != 423:  # noqa: ASYNC110
        await asyncio.sleep(0.01)  # until the server has the first request
    may_end.set()

    assert (await first).status_code == 204
    assert "another request" in second.json()["cause"]
    assert await uploads.content(link) == DATA


@pytest.mark.parametrize("kind", ["truncated", "changed", "other guild", "empty", "longer"])
async def test_a_forged_link_is_forbidden(uploads: UploadSide, kind: str) -> None:
    link = await uploads.link()
    token = token_of(link)
    # Not the last character, some of whose bits mean nothing.
    changed = f"{token[:-2]}{'A' if token[-2] != 'A' else 'B'}{token[-1]}"
    forged = {
        "truncated": token[:-1],
        "changed": changed,
        "other guild": token.replace(f"{uploads.guild}.", "43.", 1),
        "empty": "",
        "longer": f"{token}.x",
    }

    answer = await uploads.client.post(
        f"/uploads/{link.session}/bind", headers={LINK_HEADER: forged[kind]}
    )

    assert answer.status_code == 403
    assert "incomplete or was changed" in answer.json()["cause"]


async def test_a_link_opens_only_its_own_session(uploads: UploadSide) -> None:
    mine, other = await uploads.link(), await uploads.link("berta", uploads.ben)
    abroad = await uploads.link("annika", ELSEWHERE)
    for link in (mine, other, abroad):
        await uploads.open(link)

    swapped = [
        await uploads.client.get(f"/uploads/{one.session}", headers=headers(another))
        for one, another in ((mine, other), (other, mine), (mine, abroad), (abroad, mine))
    ]

    assert [answer.status_code for answer in swapped] == [403] * 4


async def test_a_download_link_is_no_upload_link(uploads: UploadSide) -> None:
    link = await uploads.link()
    archive = uploads.signer.archive_link(uploads.guild, link.session)
    stamp = ".".join(archive.split("/")[-2].split(".")[3:])

    answer = await uploads.client.post(
        f"/uploads/{link.session}/bind",
        headers={LINK_HEADER: f"{uploads.guild}.{link.session}.{stamp}"},
    )

    assert answer.status_code == 403


async def test_a_link_ends_when_it_expires_is_revoked_or_used(uploads: UploadSide) -> None:
    uploads.later_seconds = -timedelta(hours=25).total_seconds()
    expired = await uploads.link("old")
    uploads.later_seconds = 0.0
    revoked = await uploads.link("gone")
    await uploads.open(revoked)
    assert (
        await uploads.client.delete(f"/uploads/{revoked.session}", headers=headers(revoked))
    ).status_code == 204

    gone = await uploads.client.get(f"/uploads/{revoked.session}", headers=headers(revoked))
    old = await uploads.client.get(f"/uploads/{expired.session}", headers=headers(expired))

    assert (gone.status_code, old.status_code) == (410, 410)
    assert "/dataset upload" in old.json()["fix"]


async def sent_and_checked(uploads: UploadSide, link: UploadLink, data: bytes) -> str:
    """Send a zip, let it be checked, and return the status of its link."""
    place = await uploads.open(link)
    file = (await uploads.create(link, "annika.zip", len(data))).headers["location"]
    await uploads.send(link, file, data)
    await uploads.client.post(f"{place}/finish", headers=headers(link))
    while (state := (await uploads.client.get(place, headers=headers(link))).json())[  # noqa: ASYNC110
        "status"
    ] == "complete":
        await asyncio.sleep(0.01)
    return str(state["status"])


async def test_a_used_link_takes_nothing_more(uploads: UploadSide, archive: Path) -> None:
    link = await uploads.link()
    status = await sent_and_checked(uploads, link, await asyncio.to_thread(archive.read_bytes))

    again = await uploads.create(link, "more.zip")
    finished = await uploads.client.post(f"/uploads/{link.session}/finish", headers=headers(link))

    assert status == "done"
    assert (again.status_code, finished.status_code) == (410, 410)
    assert "has been used" in again.json()["cause"]


async def test_a_bomb_is_refused_and_nothing_of_it_is_unpacked(uploads: UploadSide) -> None:
    link = await uploads.link()
    bomb = zip_bytes({"a.png": bytes(80 << 20), "a.txt": "ann1ka"})

    status = await sent_and_checked(uploads, link, bomb)
    answer = await uploads.client.get(f"/uploads/{link.session}/answer", headers=headers(link))

    assert status == "open"  # so that another zip can be sent
    assert "zip bomb" in answer.text
    if isinstance(uploads, LocalSide):
        home = uploads.installation.settings.home_folder
        assert sum(file.stat().st_size for file in home.rglob("*") if file.is_file()) < 10 << 20


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b"[1]",
        b'{"action": 1, "about": "a"}',
        b'{"action": "fix"}',
    ],
)
async def test_a_malformed_press_is_refused(uploads: UploadSide, body: bytes) -> None:
    link, place = await uploads.begun()
    actions = f"/uploads/{link.session}/actions"

    answer = await uploads.client.post(actions, headers=headers(link), content=body)

    assert answer.status_code == 400
    assert answer.json()["cause"] == "The bot does not understand this request."
    assert await uploads.offset(link, place) == 1000


async def test_only_who_made_a_link_may_ask_for_it_or_revoke_it(uploads: UploadSide) -> None:
    link, service = await uploads.link(), uploads.service.uploads

    for act in (service.find_link, service.revoke):
        with pytest.raises(RequestError):
            await act(uploads.ben, link.session)

    assert (await service.find_link(uploads.ada, link.session)).session == link.session


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_another_sites_page_can_do_nothing(
    uploads: UploadSide, origin: str, method: str
) -> None:
    link, _place = await uploads.begun()
    session = f"/uploads/{link.session}"
    path = f"{session}/finish" if method == "POST" else session

    answer = await uploads.client.request(method, path, headers={**headers(link), "Origin": origin})
    preflight = await uploads.client.options(
        path, headers={"Origin": origin, "Access-Control-Request-Method": method}
    )

    assert answer.status_code == 403
    assert not any(name.startswith("access-control") for name in preflight.headers)
    assert (await uploads.client.get(session, headers=headers(link))).json()["status"] == "open"


async def test_the_cookie_is_kept_from_scripts_other_sites_and_other_sessions(
    uploads: UploadSide,
) -> None:
    link = await uploads.link()

    answer = await uploads.client.post(f"/uploads/{link.session}/bind", headers=headers(link))

    cookie = answer.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=Strict", f"Path=/uploads/{link.session}"):
        assert part in cookie
    assert token_of(link).rpartition(".")[2] not in cookie


async def test_a_page_runs_no_script_but_its_own(uploads: UploadSide) -> None:
    page = await uploads.client.get("/upload")
    script = await uploads.client.get("/assets/upload.js")
    state = await uploads.client.get("/uploads/x")

    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "'unsafe-inline'" not in page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    for answer in (page, script, state):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert state.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script>" not in page.text


@pytest.mark.parametrize("name", ["..%2fapp.py", "%2e%2e%2froutes.py", "index.html%00", "x.py"])
async def test_assets_are_only_those_of_the_page(uploads: UploadSide, name: str) -> None:
    assert (await uploads.client.get(f"/assets/{name}")).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        *("../annika.png", "/etc/passwd", "a/../../b.png", "C:\\a.png", "a\0.png"),
        *("..", "con/../../x"),
    ],
)
async def test_a_name_cannot_lead_out_of_the_folder(uploads: UploadSide, path: str) -> None:
    link = await uploads.link()
    await uploads.open(link)

    answer = await uploads.create(link, path)

    assert answer.status_code == 400
    assert await uploads.received(link) == 0


async def test_a_name_cannot_add_a_header(uploads: UploadSide) -> None:
    link = await uploads.link()
    await uploads.open(link)

    created = await uploads.create(link, "a.png\r\nSet-Cookie: x=1")
    known = await uploads.client.head(created.headers["location"], headers=headers(link))

    assert "set-cookie" not in {**created.headers, **known.headers}


async def test_a_name_with_markup_comes_back_as_data(uploads: UploadSide) -> None:
    link = await uploads.link()
    place = await uploads.open(link)
    name = "<img src=x onerror=alert(1)>.png"

    created = await uploads.create(link, name)
    state = await uploads.client.get(place, headers=headers(link))

    assert created.status_code == 201
    assert state.headers["content-type"].startswith("application/json")
    assert [file["path"] for file in state.json()["files"]] == [name]


async def test_a_file_larger_than_the_limit_is_refused_before_it_is_sent(
    uploads: UploadSide,
) -> None:
    link = await uploads.link()
    await uploads.open(link)

    answer = await uploads.create(
        link, "huge.zip", uploads.service.uploads.limits.archive_bytes + 1
    )

    assert answer.status_code == 413
    assert "the limit is" in answer.json()["cause"]


async def test_links_and_cookies_never_reach_the_logs(
    uploads: UploadSide, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, logger="httpx")
    caplog.set_level(logging.WARNING, logger="httpcore")
    link, place = await uploads.begun()
    await uploads.send(link, place, b"x", 5)
    await uploads.client.post(f"/uploads/{link.session}/finish", headers=headers(link))
    await uploads.client.get(uploads.signer.archive_link(uploads.guild, "annika"))

    assert token_of(link).rpartition(".")[2] not in uploads.logs()
    assert all(value not in uploads.logs() for value in uploads.client.cookies.values())


async def test_unfinished_files_are_not_checked(uploads: UploadSide) -> None:
    link, _place = await uploads.begun()

    answer = await uploads.client.post(f"/uploads/{link.session}/finish", headers=headers(link))

    assert answer.status_code == 400
    assert json.loads(answer.text)["cause"] == "1 file has not arrived yet."
