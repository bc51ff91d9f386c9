"""GPUs as the texts show them: what one costs, and what a run has asked for."""

from training.estimates.prices import PriceList
from training.estimates.time_and_cost import Estimate
from training.runs.spec import RunSpec


def priced(gpu: str, prices: PriceList) -> str:
    """Return `H200 ($4.54/h, list of 2026-07-01)`, or `live` in place of the list."""
    source = "live" if prices.is_live else f"list of {prices.day}"
    return f"{gpu} (${prices.usd_per_hour(gpu):.2f}/h, {source})"


def basis(estimate: Estimate) -> str:
    """Return what an estimate rests on: measured or not, and the prices of which day."""
    prices = estimate.prices
    source = f"live prices of {prices.day}" if prices.is_live else f"price list of {prices.day}"
    return source if estimate.gpu.is_measured else f"its speed not measured, {source}"


def asked_gpu(spec: RunSpec) -> str:
    """Return what becomes of the GPU that a run asked for, an empty text where it asked none."""
    if spec.gpu is None:
        return ""
    if spec.engine == "rehearsal":
        return f"GPU asked for: {spec.gpu}. A rehearsal uses none, the real training would."
    return f"GPU asked for: {spec.gpu}."
