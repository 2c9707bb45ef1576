"""Train the encoders of a study, and choose among those of a grid."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from extractors.training import Diverged, train
from flows.encoder_plans import Alternatives, EncoderPlan, Grids, Trained, best, grid_points, upstream_store
from flows.features import Workbench
from flows.grids import in_words
from stores.manifest import Manifest


def train_encoders(
    planned: Mapping[str, Sequence[Alternatives]], manifest: Manifest, bench: Workbench
) -> dict[str, Trained]:
    """Train what is not trained yet, and choose among the encoders of a grid.

    The views some are fitted on must be there.
    """
    found = {}
    for modality, repeats in planned.items():
        used = [_train_each(tried, manifest, bench) for tried in repeats]
        grids = tuple(grid_points(tried, bench.root) for tried in repeats if tried[0].plan.tried)
        plan = used[0].plan  # repeats choose among settings of the training, which do not show in a row's own
        found[modality] = Trained(plan=plan, encoders=tuple(own.id for own in used), grids=grids)
        for line in _choices(modality, grids):
            bench.report.note(line)
    return found


def _train_each(tried: Alternatives, manifest: Manifest, bench: Workbench) -> EncoderPlan:
    """Train each and return the best. One that diverges is told and left out. Raises Diverged if all do."""
    lost = []
    for own in tried:
        try:
            _train(own, manifest, bench)
        except Diverged as error:
            lost.append(error)
            if len(lost) == len(tried):
                raise
            bench.report.note(f"left out, {in_words(own.plan.tried)}: {error}")
    return best(tried, bench.root)


def _train(own: EncoderPlan, manifest: Manifest, bench: Workbench) -> None:
    plan = own.plan
    views = [plan.of_view(view) for view in plan.encoder_views]
    train(
        plan.extractor,
        own.recipe,
        manifest.samples,
        bench.root,
        bench.runtime,
        config=plan.config,
        report=bench.report,
        views=plan.encoder_views,
        view_upstreams=[store for view in views if (store := upstream_store(view, bench.root))],
    )


def _choices(modality: str, grids: Grids) -> list[str]:
    """Return what a terminal says of the grids of a modality: which settings were chosen, and how often."""
    used = [point for grid in grids for point in grid if point.chosen]
    losses: dict[str, list[float]] = defaultdict(list)
    for point in used:
        losses[in_words(point.settings)].append(point.val_loss)
    return [
        f"{modality}: {words}, chosen"
        + (f" in {len(own)} of {len(used)} repeats" if len(used) > 1 else f" among {len(grids[0])}")
        + f" at a loss of {sum(own) / len(own):.4g} on the encoder's own held-back groups"
        for words, own in losses.items()
    ]
