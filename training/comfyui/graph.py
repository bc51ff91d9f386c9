"""Builds a ComfyUI graph and checks it against ComfyUI's node definitions.

ComfyUI's web page saves this format (`nodes`, `links`, `widgets_values`) and opens it by drag and
drop; ComfyUI's API uses a different format. `nodes.json` lists each node's inputs and outputs.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

_VERSION = 0.4  # version of the web page's format
_COLUMN, _ROW = 380, 60  # pixels
_INPUT_HEIGHT, _TEXT_HEIGHT = 26, 150  # pixels
_WIDGET_TYPES = frozenset({"COMBO", "INT", "FLOAT", "STRING"})

Value = str | int | float


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a node; inputs of the same type can be linked to it."""

    node: int
    slot: int
    type: str


@dataclass(slots=True)
class Node:
    """One node; links are added to its `outputs` when later nodes use them."""

    id: int
    type: str
    title: str
    position: tuple[int, int]
    height: int
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    values: list[Value]
    properties: dict[str, Any]

    def output(self, name: str) -> Output:
        for slot, found in enumerate(self.outputs):
            if found["name"] == name:
                return Output(self.id, slot, found["type"])
        raise ValueError(f"{self.type} has no output {name}")


@dataclass(slots=True)
class Graph:
    """Nodes and links; adding a node that ComfyUI would reject raises an error."""

    nodes: list[Node] = field(default_factory=list[Node])
    links: list[list[Any]] = field(default_factory=list[list[Any]])
    _heights: dict[int, int] = field(default_factory=dict[int, int])

    def add(
        self,
        type_: str,
        given: Mapping[str, Value | Output],
        *,
        column: int,
        title: str = "",
        download: tuple[str, str] | None = None,
    ) -> Node:
        """Add a node below the last one of its column, with its links and values.

        Args:
            type_: ComfyUI's name of the node type.
            given: For each input, a value or another node's output.
            column: The node's column, counted from the left.
            title: Shown instead of the type's name; "" to show the type.
            download: Folder and URL of the file that the node's first widget names. ComfyUI then
                offers to download the file.

        Raises:
            ValueError: An input is unknown, missing, out of range or of the wrong type.
            TypeError: A value does not match the type of its widget.
        """
        inputs: list[dict[str, Any]] = node_table()[type_]["inputs"]
        if unknown := set(given) - {entry["name"] for entry in inputs}:
            raise ValueError(f"{type_} has no input {sorted(unknown)}")
        text_height = _TEXT_HEIGHT if "text" in given else 0
        node = self._place(type_, title, column, _ROW + _INPUT_HEIGHT * len(inputs) + text_height)
        for entry in inputs:
            self._fill(node, entry, given.get(entry["name"]))
        if download is not None:
            folder, url = download
            file = {"name": node.values[0], "url": url, "directory": folder}
            node.properties["models"] = [file]
        self.nodes.append(node)
        return node

    def _place(self, type_: str, title: str, column: int, height: int) -> Node:
        """Return a new node, still without inputs, placed below the last one of its column."""
        top = self._heights.get(column, 0)
        self._heights[column] = top + height + _ROW
        return Node(
            id=len(self.nodes) + 1,
            type=type_,
            title=title,
            position=(column * _COLUMN, top),
            height=height,
            inputs=[],
            outputs=[{**output, "links": []} for output in node_table()[type_]["outputs"]],
            values=[],
            properties={"Node name for S&R": type_, "cnr_id": "comfy-core"},
        )

    def _fill(self, node: Node, entry: Mapping[str, Any], value: Value | Output | None) -> None:
        name = f"{node.type}.{entry['name']}"
        if value is None:
            if not entry.get("optional"):
                raise ValueError(f"{name} is missing")
        elif isinstance(value, Output):
            self._link(node, entry, value)
        elif entry["type"] in _WIDGET_TYPES:
            _require_valid(name, entry, value)
            node.values.append(value)
            if entry.get("control_after_generate"):
                node.values.append("fixed")
            if entry.get("image_upload"):
                node.values.append("image")
        else:
            raise ValueError(f"{name} takes a link")

    def _link(self, node: Node, entry: Mapping[str, Any], source: Output) -> None:
        if source.type != entry["type"]:
            raise ValueError(
                f"{node.type}.{entry['name']} takes {entry['type']}, not {source.type}"
            )
        link = len(self.links) + 1
        slot = len(node.inputs)
        self.links.append([link, source.node, source.slot, node.id, slot, source.type])
        node.inputs.append({"name": entry["name"], "type": entry["type"], "link": link})
        self.nodes[source.node - 1].outputs[source.slot]["links"].append(link)

    def to_json(self) -> dict[str, Any]:
        """Return the graph as ComfyUI's page saves it."""
        return {
            "revision": 0,
            "last_node_id": len(self.nodes),
            "last_link_id": len(self.links),
            "nodes": [_saved(node) for node in self.nodes],
            "links": self.links,
            "groups": [],
            "config": {},
            "extra": {},
            "version": _VERSION,
        }


@cache
def node_table() -> Mapping[str, Mapping[str, Any]]:
    """Return ComfyUI's definitions of the nodes used here."""
    text = resources.files("training.comfyui").joinpath("nodes.json").read_text("utf-8")
    return json.loads(text)["nodes"]


def _require_valid(name: str, entry: Mapping[str, Any], value: Value) -> None:
    kinds: dict[str, tuple[type, ...]] = {"INT": (int,), "FLOAT": (float, int)}
    if not isinstance(value, kinds.get(entry["type"], (str,))):
        raise TypeError(f"{name} takes {entry['type']}, not {value!r}")
    options = entry.get("options")
    if options is not None and value not in options:
        raise ValueError(f"{name} takes one of {options}, not {value!r}")
    if isinstance(value, int | float) and not entry["min"] <= value <= entry["max"]:
        raise ValueError(f"{name} cannot be {value}")


def _saved(node: Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "type": node.type,
        "pos": list(node.position),
        "size": [_COLUMN - 40, node.height],
        "flags": {},
        "order": node.id - 1,
        "mode": 0,
        "inputs": node.inputs,
        "outputs": [{**output, "slot_index": n} for n, output in enumerate(node.outputs)],
        **({"title": node.title} if node.title else {}),
        "properties": {} if node.type == "MarkdownNote" else node.properties,
        "widgets_values": node.values,
    }
