"""What the guide's Volumes contain, recognized from paths alone."""

from training.registry.guide_volumes import (
    SourceFile,
    config_mentions,
    find_datasets,
    find_loras,
)


def files(*paths: str) -> list[SourceFile]:
    return [SourceFile(path, 10) for path in paths]


def test_a_dataset_is_the_folder_around_images_and_videos_at_any_depth() -> None:
    found = find_datasets(
        files(
            "annika/images/000.png",
            "annika/images/000.txt",
            "datasets/datasets/ben/videos/001.mp4",
            "datasets/datasets/ben/videos/more/002.mp4",
            "flat/1.jpg",
        )
    )

    assert [(its.name, its.folder, its.media) for its in found] == [
        ("annika", "annika", 1),
        ("ben", "datasets/datasets/ben", 2),
        ("flat", "flat", 1),
    ]


def test_its_files_keep_their_places_in_the_zip_and_caches_stay_behind() -> None:
    (found,) = find_datasets(
        files(
            "datasets/annika/images/000.png",
            "datasets/annika/images/000.txt",
            "datasets/annika/images/cache/000_wan.safetensors",
            "datasets/annika/__MACOSX/images/._000.png",
            "datasets/annika/notes.txt",
        )
    )

    places = {found.place(file) for file in found.files}
    assert places == {"images/000.png", "images/000.txt", "notes.txt"}
    assert found.size_bytes == 30


def test_two_folders_of_one_name_get_different_names() -> None:
    found = find_datasets(files("a/anna/images/1.png", "b/anna/images/1.png", "b/Anna/1.png"))

    assert len({its.name for its in found}) == 3
    assert {its.folder for its in found} == {"a/anna", "b/anna", "b/Anna"}


def test_a_folder_with_an_invalid_name_gets_a_valid_one() -> None:
    (found,) = find_datasets(files("---/images/1.png"))

    assert found.name == "dataset"


def test_a_volume_without_folders_is_one_dataset() -> None:
    (found,) = find_datasets(files("1.png", "1.txt"))

    assert (found.name, found.folder) == ("dataset", ".")
    assert {found.place(file) for file in found.files} == {"1.png", "1.txt"}


def test_a_toml_beside_the_datasets_may_belong_to_one_of_them() -> None:
    (found,) = find_datasets(files("set.toml", "annika/own.toml", "annika/images/1.png"))

    assert [file.path for file in found.configs] == ["set.toml"]
    text = 'image_directory = "/datasets/datasets/annika/images"'
    assert config_mentions(text, "datasets/annika")
    assert not config_mentions(text, "datasets/ann")


def test_checkpoints_come_from_outputs_and_resume_folders_without_states() -> None:
    found = find_loras(
        files(
            "outputs/my-run/my-run-000005.safetensors",
            "outputs/my-run/my-run-state/model.safetensors",
            "outputs/my-run/my-run.toml",
            "resume_checkpoints/Old One.safetensors",
            "models/wan2.1_t2v.safetensors",
        )
    )

    assert [(its.name, its.file.path) for its in found] == [
        ("my-run-000005", "outputs/my-run/my-run-000005.safetensors"),
        ("old-one", "resume_checkpoints/Old One.safetensors"),
    ]


def test_checkpoints_of_one_name_are_named_after_their_runs() -> None:
    found = find_loras(files("outputs/a/lora.safetensors", "outputs/b/lora.safetensors"))

    assert [its.name for its in found] == ["outputs-a-lora", "outputs-b-lora"]
