"""Regions of a run: the record of one, which base is in which, and what they weigh."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from genoconv.errors import DataError, UsageError
from genoconv.pipelines.options import Options
from genoconv.wording import did_you_mean, listed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from genoconv.genome.annotation.features import Stretches
    from genoconv.genome.fasta.access import Fasta
    from genoconv.genome.windows.regions import RegionMap

Feature = Literal["cds", "utr", "exon", "promoter", "intron", "intergenic"]
FEATURES: tuple[str, ...] = get_args(Feature)
OTHER = "other"
"""What reports call the bases in no region."""

Weight = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class Region(Options):
    """A region whose bases are read, or weigh in the loss, more or less often than others; or are only reported.

    Attributes:
        feature: of the annotation; docs/training.md defines them.
        bed: intervals, 0-based half-open, in place of a feature.
        name: in reports; the feature, or the BED file's name up to its first dot, if None.
        around: of a promoter, bases on each side of the transcription start site.
        weight: how often a base is read, relative to one in no region.
        loss_weight: what a base weighs in the training loss, relative to one in no region.
    """

    feature: Feature | None = None
    bed: Path | None = None
    name: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    around: Annotated[int, Field(ge=1)] | None = None
    weight: Weight = 1.0
    loss_weight: Weight = 1.0

    @classmethod
    def from_text(cls, text: str) -> dict[str, Any]:
        """Values of ``BED``, ``BED:WEIGHT`` or ``BED:WEIGHT:LOSS_WEIGHT``, with a feature in place of the BED."""
        what, *numbers = text.rsplit(":", 2)
        while numbers and not all(map(_is_number, numbers)):
            what, numbers = f"{what}:{numbers[0]}", numbers[1:]
        values: dict[str, Any] = {"feature": what} if what in FEATURES else {"bed": what}
        return values | dict(zip(("weight", "loss_weight"), numbers, strict=False))

    @model_validator(mode="before")
    @classmethod
    def _written_short(cls, value: Any) -> Any:
        return cls.from_text(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_kind(self) -> "Region":
        if (self.feature is None) == (self.bed is None):
            raise ValueError("a region has one of feature (of the annotation) and bed (a file)")
        if self.around is not None and self.feature != "promoter":
            raise ValueError("around applies only to the feature promoter; drop it")
        return self

    @property
    def usual_name(self) -> str:
        """The name, or what takes its place."""
        return self.name or self.feature or (self.bed.name.split(".")[0] if self.bed else "") or "region"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_names(regions: Sequence[Region], *, taken: Collection[str]) -> None:
    """Refuse names that would be the same in reports.

    Raises:
        UsageError: two regions, or a region and a source, of one name.
    """
    seen = {OTHER, *taken}
    for region in regions:
        if region.usual_name in seen:
            raise UsageError(
                f"region {region.usual_name}: another region or source has this name; choose another in a run file"
            )
        if set(region.usual_name) & set("[],\"'|") or not region.usual_name.isprintable():
            raise UsageError(
                f"region {region.usual_name!r}: its name must not contain brackets, commas, quotes or bars"
            )
        seen.add(region.usual_name)


@dataclass(frozen=True)
class Regions:
    """The regions of one source.

    Attributes:
        map: which base is in which.
        names: of the regions, in the order of the list.
        weights, loss_weights: of each label, that of a base in no region last.
    """

    map: "RegionMap"
    names: tuple[str, ...]
    weights: "npt.NDArray[np.float64]"
    loss_weights: "npt.NDArray[np.float32]"

    def describe(self) -> dict[str, Any]:
        """For ``genome.json``: bases and weights of each region, and a digest of all."""
        rows = zip([*self.names, OTHER], self.map.bases.tolist(), self.weights, self.loss_weights, strict=True)
        return {
            "regions": {
                name: {"bases": bases, "weight": float(weight), "loss_weight": float(loss)}
                for name, bases, weight, loss in rows
            },
            "regions_sha256": self.map.digest(),
        }


def find_regions(
    regions: Sequence[Region],
    fasta: "Fasta",
    *,
    annotation: Path | None,
    aliases: Mapping[str, str],
    where: str,
) -> Regions | None:
    """Which base of a FASTA is in which region; None where there are no regions.

    Raises:
        UsageError: a feature without an annotation.
        DataError: a damaged file, an interval outside of the FASTA, a region without a base.
    """
    if not regions:
        return None
    import numpy as np

    from genoconv.genome.annotation.features import Features
    from genoconv.genome.windows.regions import RegionMap, bed_stretches

    features = None
    every: list[Stretches] = []
    for region in regions:
        if region.feature is not None:
            if annotation is None:
                what = f"region {region.feature} is of an annotation, and there is none"
                raise UsageError(f"{where}{what}: add --annotation FILE")
            features = features or Features(fasta, annotation, aliases=aliases)
            every.append(features.stretches(region.feature, around=region.around or 1_000))
        elif region.bed is not None:
            if not region.bed.exists():
                known = did_you_mean(region.bed.name, FEATURES) or f"; features are {', '.join(FEATURES)}"
                raise UsageError(f"{where}region {region.bed}: neither a file nor a feature{known}")
            every.append(bed_stretches(region.bed, fasta, aliases=aliases))
    names = tuple(region.usual_name for region in regions)
    map = RegionMap(fasta.contigs, every)
    empty = [name for name, bases in zip(names, map.bases.tolist(), strict=False) if not bases]
    if empty:
        raise DataError(
            f"{where}region {listed(empty)} has no base of its own: those before it in the list cover all of it; put it"
            " first"
        )
    return Regions(
        map=map,
        names=names,
        weights=np.array([*(region.weight for region in regions), 1.0]),
        loss_weights=np.array([*(region.loss_weight for region in regions), 1.0], np.float32),
    )
