"""Handles of what a test deployed."""

from typing import Any, cast

import modal


def deployed(app: str, name: str) -> "modal.Function[..., Any, Any]":
    """Return the handle of a deployed function, which the client leaves untyped."""
    return cast("modal.Function[..., Any, Any]", modal.Function.from_name(app, name))
