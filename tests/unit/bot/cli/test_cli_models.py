"""`lorabot models`."""

from tests.lorabot import Lorabot


def test_models_are_listed_with_all_stable_fields(here: Lorabot) -> None:
    found = here.json("models")

    fields = [
        "name",
        "use_case",
        "task",
        "dtype",
        "i2v",
        "clip",
        "flow_shift",
        "gpu",
        "speed_lora",
        "modules",
        "experts",
    ]
    of_experts = ["name", "dit", "min_timestep", "max_timestep", "rank", "alpha", "learning_rate"]
    assert len(found) == 8
    for model in found:
        assert set(fields) <= set(model)
        for expert in model["experts"]:
            assert set(of_experts) <= set(expert)
            assert set(expert["dit"]) >= {"repo", "file"}


def test_the_reference_preset_is_listed_with_its_reasons(here: Lorabot) -> None:
    found = {model["name"]: model["reference"] for model in here.json("models")}
    text = " ".join(here.run("models").stdout.split())

    high = {v["setting"]: v for v in found["wan22-t2v-vanilla"] if v["expert"] == "high"}
    assert high["flow_shift"]["value"] == "12"
    assert "official sampler" in high["flow_shift"]["reason"]
    assert found["wan21-t2v-1-3b"] == []
    assert "--preset reference sets --flow-shift high=12 wan22-t2v-*" in text
