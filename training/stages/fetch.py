"""fetch: every weight file of the run, once for all runs, with its hash."""

import json

from training import layout
from training.catalogue import WeightFile
from training.merge.hashing import file_sha256
from training.stage import StageContext, StageResult


def run(context: StageContext) -> StageResult:
    """Obtain the weight files that are not there yet, and write a receipt for each."""
    files = context.planner.weight_files()
    fetched = 0
    for done, weight in enumerate(files):
        context.check_stopping()
        context.report_progress(f'{{"done": {done}, "total": {len(files)}}}'.encode())
        fetched += _fetch(context, weight)
    return StageResult(reused=fetched == 0, note=f"{fetched} of {len(files)} files fetched")


def sha256_of(context: StageContext, weight: WeightFile) -> str:
    """Return the hash that was taken of a weight file when it was fetched."""
    receipt = context.house.store.read(layout.weight_receipt(_engine(context), weight))
    return json.loads(receipt)["sha256"]


def _fetch(context: StageContext, weight: WeightFile) -> bool:
    store, planner = context.house.store, context.planner
    key = layout.weight(_engine(context), weight)
    receipt = layout.weight_receipt(_engine(context), weight)
    with context.shared(key):
        # The receipt is written last: a file without one was never completely fetched.
        if store.exists(receipt) and store.exists(key):
            return False
        target = context.path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        revision = planner.engine.obtain(planner.model, weight, target)
        facts = {
            "repo": weight.repo,
            "file": weight.file,
            "revision": revision,
            "size_bytes": target.stat().st_size,
            "sha256": file_sha256(target),
        }
        store.write(receipt, json.dumps(facts, indent=2).encode())
    return True


def _engine(context: StageContext) -> str:
    return context.planner.engine.name
