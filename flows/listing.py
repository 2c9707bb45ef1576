"""What the store holds, as a table and as JSON."""

from dataclasses import asdict
from typing import Any

from flows.progress import listing
from flows.terminal import printable, show_table
from stores.encoders import EncoderStore
from stores.features import all_features
from stores.root import Root
from stores.studies import StudyStore


def list_store(address: str | None) -> dict[str, Any]:
    """Return {root, manifests, features, encoders, studies, reports}."""
    root = Root(address).demand()
    features = [
        {"modality": own.identity.modality, **own.summary(), "quarantined": len(own.standing())}
        for own in all_features(root)
    ]
    encoders = [EncoderStore(root).describe(i) for i in root.names("encoders") if i in EncoderStore(root)]
    studies = []
    for name in root.names("studies"):
        if root.exists("studies", name, "study.json"):
            opened_study = StudyStore.open(root, name)
            runs = opened_study.runs()
            studies.append({"id": name, "name": opened_study.facts()["name"], "runs": 0 if runs is None else len(runs)})
    return {
        "root": root.address,
        "manifests": [name.removesuffix(".parquet") for name in root.names("manifests")],
        "features": features,
        "encoders": [{key: e[key] for key in ("id", "best_epoch", "fitted_on", "stopped_on")} for e in encoders],
        "studies": studies,
        "reports": root.names("reports"),
    }


def list_quarantine(address: str | None) -> dict[str, Any]:
    """Return {root, quarantine}: every failure that stands, with its feature."""
    root = Root(address).demand()
    rows = [{"feature": own.id, **asdict(row)} for own in all_features(root) for row in own.standing()]
    return {"root": root.address, "quarantine": rows}


def show_quarantine(content: dict[str, Any]) -> None:
    """Print what `list_quarantine` found."""
    rows = content["quarantine"]
    for row in rows:
        line = f"{row['feature']}: {row['reason']} ({row['stage']}, attempt {row['attempts']}): {row['message']}"
        listing.print(printable(line), highlight=False, markup=False)
    retry = "; `affuse extract STUDY --retry-quarantined [--reason CODE]` tries them again" if rows else ""
    listing.print(f"{len(rows):,} failures{retry}", highlight=False, style="bold")


def show_store(content: dict[str, Any]) -> None:
    """Print what `list_store` found."""
    show_table(
        f"Features in {content['root']}",
        ("feature", "modality", "rows", "quarantined", "computed on"),
        [
            (f["id"], f["modality"], f"{f['rows']:,}", f"{f['quarantined']:,}", ", ".join(f["computed_on"]) or "-")
            for f in content["features"]
        ],
        on=listing,
    )
    show_table(
        "Trained encoders",
        ("encoder", "fitted on", "stopped on", "best epoch"),
        [(e["id"], f"{e['fitted_on']:,}", f"{e['stopped_on']:,}", str(e["best_epoch"])) for e in content["encoders"]],
        on=listing,
    )
    show_table(
        "Studies",
        ("study", "name", "runs"),
        [(s["id"], s["name"], f"{s['runs']:,}") for s in content["studies"]],
        caption=f"manifests: {', '.join(content['manifests']) or 'none'}; reports: {len(content['reports'])}",
        on=listing,
    )
