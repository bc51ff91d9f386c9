"""Datasets in words: counts, groups, findings with cause and fix, versions."""

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.messages.card import Card
from bot.messages.datasets.cards import dataset_card, dataset_list
from bot.messages.datasets.report import report_text
from bot.messages.errors import error_card
from bot.messages.options import on_terminal
from tests.unit.bot.messages.dataset_examples import a_finding, a_report, a_sample, a_version
from training.catalogue.models import MODELS
from training.dataset.config.guide_groups import plan_groups
from training.dataset.report import Report, Severity
from training.registry.dataset_draft import DatasetRefusedError


def a_card(report: Report, number: int = 1, same_as: str | None = None) -> Card:
    return dataset_card(a_version(number), report, plan_groups(report), same_as=same_as)


def test_card_counts_samples_and_the_items_of_each_group() -> None:
    text = a_card(a_report()).text

    assert "annika@1" in text
    assert "6 images and 4 clips, 14 s of video" in text
    assert "**images**: 6 items" in text
    assert "**clips-head**: 8 items (1280x720, 1 and 21 frames)" in text
    assert "20 items in total, one step each per epoch." in text


def test_card_names_what_is_left_out_and_why() -> None:
    text = a_card(a_report(clips=1)).text

    assert "The group clips-uniform is left out: no clip has 45 frames" in text


def test_the_card_of_a_second_version_says_that_the_first_is_kept() -> None:
    one, two = (dataset_card(a_version(3), a_report(), others=o).text for o in ((1,), (1, 2)))

    assert "Version 1 stays until you remove it." in one
    assert "Versions 1 and 2 stay until you remove them." in two
    assert "until you remove" not in dataset_card(a_version(3), a_report()).text


def test_a_version_with_identical_content_is_named() -> None:
    assert "Same content as **annika@1**" in a_card(a_report(), 2, "annika@1").text


def test_card_and_report_name_the_share_of_single_frames_for_image_to_video() -> None:
    found = next(f for f in a_card(a_report()).fields if f.name.startswith("Single frames"))
    text = " ".join(report_text(a_report(), on_terminal).split())

    assert found.value.startswith("10 of 20 steps per epoch (")
    assert "items=clips" in found.value
    assert "wan22-i2v-lightning: 10 of 20 steps per epoch" in text
    assert "Train with --items clips to leave them out." in text
    assert "Single frames" not in a_card(a_report(clips=0)).text


def test_a_dataset_of_images_suits_no_image_to_video_model() -> None:
    suits = next(f.value for f in a_card(a_report(clips=0)).fields if f.name == "Suits")
    first, second = suits.splitlines()

    assert first.split(", ") == [model.name for model in MODELS if not model.i2v]
    assert "learns movement from clips" in second
    assert "every model" in a_card(a_report()).text


def test_findings_come_with_cause_and_fix_and_the_rest_is_counted() -> None:
    findings = [a_finding("a", "error", "One clip is broken.")]
    findings += [a_finding(f"b{n}", "warning", f"Thing {n} is odd.") for n in range(8)]

    text = a_card(a_report(*findings)).text

    assert text.index("Must be fixed") < text.index("Worth a look")
    assert "One clip is broken. *Add more.*" in text
    assert "Thing 3 is odd." in text
    assert "Thing 4 is odd." not in text
    assert "4 more findings in the attached report" in text


def test_a_refusal_lists_each_cause_with_its_own_fix() -> None:
    findings = (a_finding("a", "error", "One is broken."), a_finding("b", "error", "One is HDR."))
    error = DatasetRefusedError("One is broken. One is HDR.", "", a_report(*findings))

    card = error_card(error)

    assert card.title == "2 things to fix"
    assert card.fields[0].name == "Must be fixed"
    assert card.fields[0].value == "- One is broken. *Add more.*\n- One is HDR. *Add more.*"
    assert "`/dataset check` only checks it" in card.fields[-1].value
    assert card.fields[-1].name == "What to do"


def test_file_names_in_findings_are_not_taken_for_markup() -> None:
    text = a_card(a_report(a_finding(cause="*a*.mp4 has no caption."))).text

    assert r"\*a\*.mp4 has no caption." in text


@settings(deadline=None)
@given(cause=st.text(max_size=3000), count=st.integers(0, 30))
def test_no_report_breaks_the_card(cause: str, count: int) -> None:
    severities: tuple[Severity, ...] = ("error", "warning", "info")
    findings = [a_finding(f"c{n}", severities[n % 3], cause) for n in range(count)]

    card = a_card(a_report(*findings))

    names = [field.name for field in card.fields]
    assert {"Contents", "Suits"} <= set(names)
    assert ("And" in names) is (count > 5)


def test_report_names_every_finding_file_and_sample() -> None:
    finding = a_finding(cause="2 of 4 clips are short.").model_copy(
        update={"files": ("videos/0.mp4", "videos/1.mp4")}
    )
    report = a_report(finding)

    text = report_text(report, on_terminal)

    assert "Ready to train on." in text
    assert "[warning] few" in text
    assert "-> Add more." in text
    assert all(sample.name in text for sample in report.samples)
    assert text.count("videos/1.mp4") == 2


def test_the_report_on_an_unusable_set_says_so_first_and_predicts_nothing() -> None:
    report = a_report(a_finding(severity="error"))

    assert "Cannot be trained on yet." in report_text(report, on_terminal).splitlines()[0]
    assert "step" not in report_text(report, on_terminal)


def test_the_report_combines_models_with_equal_predictions() -> None:
    text, images = (" ".join(report_text(a_report(clips=n), on_terminal).split()) for n in (4, 0))

    assert "wan21-t2v-1-3b, wan21-i2v-480p: 20 items, 20 steps" in text
    assert "images: 6 at 832x480" in text
    assert "clips-head: 4 at 1280x720 with 1 frame, 4 at 1280x720 with 21 frames" in text
    assert images.count("unsuitable. An image-to-video model learns movement") == 1


def test_report_carries_no_control_characters_of_a_caption() -> None:
    sample = a_sample("images/a.png", "image", caption="red\x1b[31m\nannika " + "walks " * 50)
    report = Report(version="c" * 32, samples=(sample,), findings=())

    text = report_text(report, on_terminal)

    assert "\x1b" not in text
    assert "red [31m annika" in text
    assert max(map(len, text.splitlines())) < 100


def test_the_list_shows_every_dataset_or_how_to_add_one() -> None:
    assert "/dataset add" in dataset_list([]).text
    text = dataset_list([a_version(3), a_version(1, "berta")]).text

    assert "2 datasets" in text
    assert "**annika@3** · 6 images and 4 clips · added 2026-08-01" in text
    assert "**berta@1**" in text


def test_long_list_counts_what_it_does_not_show() -> None:
    card = dataset_list([a_version(1, f"{'x' * 60}{n}") for n in range(200)])

    assert len(card.description) <= 4096
    assert card.description.splitlines()[-1].startswith("and ")
