"""What lists say about damaged entries."""

from bot.messages.datasets.cards import dataset_list
from bot.messages.loras import lora_list
from training.errors import AdapterError, DatasetError
from training.remedies import AddDataset, RemoveLora


def test_lists_show_what_is_damaged_and_what_to_do_about_it() -> None:
    dataset = DatasetError("annika@2 is damaged.", "Add its zip again.", AddDataset(name="annika"))
    lora = AdapterError("old is damaged.", "Remove it.", RemoveLora(name="old"))
    datasets, loras = dataset_list([], damaged=[dataset]), lora_list([], "1", damaged=[lora])

    assert datasets.title == "1 dataset"
    assert "annika@2 is damaged. Add its zip again. `/dataset add name:annika`" in datasets.text
    assert loras.title == "1 checkpoint"
    assert "old is damaged. Remove it. `/checkpoint remove name:old`" in loras.text
