"""A damaged record of revoked links: nothing works until somebody revokes all of them."""

import pytest

from tests.unit.bot.web_side import BYTES, GUILD, HIGH, RUN, Web
from training.errors import RequestError
from training.store_keys import RunKeys


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b'{"revoked": "x"}', b'{"revoked": null}'])
async def test_a_damaged_record_ends_all_links_until_they_are_revoked(
    web: Web, record: bytes
) -> None:
    revocations = web.downloads.revocations
    revocations.revoke(GUILD, RUN)
    old = web.link(HIGH, 1)
    web.store.write(RunKeys(GUILD, RUN).links, record)

    refused = await web.client.get(old)
    with pytest.raises(RequestError, match="so none of its links work") as error:
        revocations.count(GUILD, RUN)
    web.downloads.revoke(GUILD, RUN)
    revoked = await web.client.get(old)
    new = await web.client.get(web.link(HIGH, revocations.count(GUILD, RUN)))

    assert refused.status_code == 400
    assert f"lorabot run revoke-links {RUN} --server {GUILD}" in error.value.fix
    assert revoked.status_code == 410
    assert (new.status_code, new.content) == (200, BYTES)
