"""Captions from an OpenAI-compatible endpoint: requests, patience, refusals, broken answers."""

import httpx
import pytest
from PIL import Image
from pydantic import SecretStr
from tenacity import wait_none

from tests.wire.captioning.completions import KEY, MODEL, Reply, completion, serving
from training.captioning.captioner import CaptionerError, CaptionRequest, NoCaptionError
from training.captioning.endpoint import TRIES, EndpointCaptioner
from training.captioning.templates import TEMPLATES

GOOD = completion("ann1ka walks along a beach at sunset.")


def request(frames: int = 3) -> CaptionRequest:
    colours = [(40 * index, 80, 200) for index in range(frames)]
    return CaptionRequest(
        frames=[Image.new("RGB", (96, 64), colour) for colour in colours],
        kind="video",
        seconds=1.5,
        width=832,
        height=480,
        trigger="ann1ka",
        template=TEMPLATES["character"],
    )


def captioner(
    url: str, *, model: str = MODEL, key: str | None = KEY, seconds: float = 20.0
) -> EndpointCaptioner:
    secret = SecretStr(key) if key else None
    timeout = httpx.Timeout(seconds)
    return EndpointCaptioner(url, model, secret, timeout=timeout, wait=wait_none())


def test_frames_and_instructions_are_sent_and_the_answer_is_the_caption() -> None:
    with serving(GOOD) as server:
        caption = captioner(f"{server.url}/").propose(request())

    assert caption == "ann1ka walks along a beach at sunset."
    ((text, pictures),) = server.asked
    assert "a clip of 1.5 seconds" in text
    assert all(told in text for told in TEMPLATES["character"].never)
    assert [picture.size for picture in pictures] == [(96, 64)] * 3
    reds = [picture.convert("RGB").tobytes()[0] for picture in pictures]
    assert reds == sorted(set(reds))


def test_the_label_is_the_model_and_the_remark_names_where_pictures_go() -> None:
    made = captioner("https://captions.example:8443/v1")

    assert made.label == MODEL
    assert "sent to captions.example" in made.remark
    assert KEY not in f"{made.label}{made.remark}"


@pytest.mark.parametrize(
    "trouble",
    [Reply(429), Reply(500), Reply(503, b"loading model"), Reply(408), Reply(None)],
)
def test_a_busy_server_is_asked_again(trouble: Reply) -> None:
    with serving(trouble, trouble, GOOD) as server:
        assert captioner(server.url).propose(request()).startswith("ann1ka walks")

    assert len(server.asked) == 3


@pytest.mark.parametrize("trouble", [Reply(429), Reply(502), Reply(None)])
def test_a_server_that_stays_busy_is_named(trouble: Reply) -> None:
    with serving(trouble) as server, pytest.raises(CaptionerError) as caught:
        captioner(server.url).propose(request())

    assert len(server.asked) == TRIES
    assert server.url in caught.value.cause
    assert KEY not in str(caught.value)


def test_a_server_that_never_answers_is_given_up() -> None:
    with serving(Reply(is_slow=True)) as server, pytest.raises(CaptionerError) as caught:
        captioner(server.url, seconds=0.05).propose(request())

    assert "ReadTimeout" in caught.value.cause


def test_a_server_that_does_not_run_is_named() -> None:
    with serving(GOOD) as server:
        url = server.url
    with pytest.raises(CaptionerError, match="ConnectError"):
        captioner(url).propose(request())


@pytest.mark.parametrize("key", ["wrong", None])
def test_a_wrong_key_is_a_matter_for_the_operator(key: str | None) -> None:
    with serving(GOOD) as server, pytest.raises(CaptionerError, match="refuses the key") as caught:
        captioner(server.url, key=key).propose(request())

    assert "LORABOT_CAPTION_KEY" in caught.value.fix
    assert server.asked == []


def test_an_unknown_model_is_a_matter_for_the_operator() -> None:
    with serving(GOOD) as server, pytest.raises(CaptionerError, match="does not exist"):
        captioner(server.url, model="other").propose(request())


@pytest.mark.parametrize("url", ["captions", "ftp://captions.example", ""])
def test_an_address_that_is_none_is_a_matter_for_the_operator(url: str) -> None:
    with pytest.raises(CaptionerError, match="LORABOT_CAPTION_URL"):
        captioner(url).propose(request())


@pytest.mark.parametrize(
    "answer",
    [
        *(Reply(body=b""), Reply(body=b"hello"), Reply(body=b"[]"), Reply(body=b"{}")),
        *(Reply(body=b'{"choices": []}'), Reply(body=b'{"choices": [{}]}')),
        Reply(body=b'{"choices": [{"message": {"content": 3}}]}'),
        *(completion(None), completion("")),
        completion("ann1ka walks along a", finish_reason="length"),
        *(completion(None, refusal="No."), completion("x", finish_reason="content_filter")),
        completion("I'm sorry, but I can't help with identifying people in images."),
        *(Reply(400, b"context length exceeded"), Reply(413), Reply(422)),
    ],
)  # fmt: skip
def test_answers_without_a_caption_concern_one_sample_only(answer: Reply) -> None:
    with serving(answer, GOOD) as server:
        asked = captioner(server.url)
        with pytest.raises(NoCaptionError):
            asked.propose(request())
        assert asked.propose(request()).startswith("ann1ka walks")
