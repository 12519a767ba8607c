"""Which sequences a run learns from: the record of one source, and how repeated options pair up."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from genoconv.errors import UsageError
from genoconv.pipelines.options import Options
from genoconv.pipelines.shared_options import Names
from genoconv.pipelines.train.regions import Region, Weight
from genoconv.wording import count


class Source(Options):
    """One assembly: an entry of ``sources`` in a run file.

    Attributes:
        name: in reports; the genome's name or the FASTA's, up to its first dot, if None.
        genome, fasta: the sequence; exactly one of them.
        annotation: genes, GTF or GFF3.
        genes: learn from genes or from tiles; None takes genes where there is an annotation.
        window_file: windows and their split from ``genoconv windows``, in place of making them.
        weight: how often a base of this source is read, relative to one of a source of weight 1.
        valid, test: contigs for these sets; where neither is given, ``windows`` decides.
        soft_mask_weight: weight of lower-case bases in the loss; None goes by ``data.soft_mask``.
        regions: of this source; they come before those of ``windows.regions``.
    """

    name: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    genome: str | None = None
    fasta: Path | None = None
    annotation: Path | None = None
    genes: bool | None = None
    window_file: Path | None = None
    weight: Weight = 1.0
    valid: Names = ()
    test: Names = ()
    soft_mask_weight: Annotated[float, Field(ge=0, le=1)] | None = None
    regions: tuple[Region, ...] = ()

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str | None) -> str | None:
        if name is not None and (not name.isprintable() or set(name) & set("[],\"'|")):
            raise ValueError(
                f"{name!r} contains a bracket, comma, quote, bar or control character; choose another name"
            )
        return name

    @property
    def usual_name(self) -> str:
        """The name, or what takes its place."""
        return self.name or self.genome or (self.fasta.name.split(".")[0] if self.fasta else "") or "sequence"

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that it names."""
        beds = [region.bed for region in self.regions]
        return tuple(path for path in (self.fasta, self.annotation, self.window_file, *beds) if path is not None)


def paired(
    *,
    genomes: Sequence[str],
    fastas: Sequence[Path],
    annotations: Sequence[Path],
    window_files: Sequence[Path],
    genes: bool | None,
) -> tuple[Source, ...]:
    """The sources that repeated options describe: named genomes first, then FASTAs, each in their order.

    The n-th annotation belongs to the n-th FASTA, or to the n-th genome where there is no FASTA; the n-th file of
    windows belongs to the n-th source.

    Raises:
        UsageError: counts that do not match.
    """
    owners, what = (len(fastas), "--fasta") if fastas else (len(genomes), "--genome")
    total = len(genomes) + len(fastas)
    for option, number, most, whose in (
        ("--annotation", len(annotations), owners, what),
        ("--windows", len(window_files), total, "--genome and --fasta" if genomes and fastas else what),
    ):
        if number and not most:
            raise UsageError(f"{option} needs the FASTA that it describes: add --fasta FILE or --genome NAME")
        if number and number != most:
            raise UsageError(
                f"{option} is given {count(number, 'time')} and {whose} {count(most, 'time')}: give one for each, in"
                " the same order, or none; to give it to some of them, list them under sources: in a run file"
            )
    none: tuple[Path | None, ...] = (None,) * total
    of_genome = annotations if annotations and not fastas else none[: len(genomes)]
    of_fasta = annotations if annotations and fastas else none[: len(fastas)]
    sources = [Source(genome=name, annotation=path, genes=genes) for name, path in zip(genomes, of_genome, strict=True)]
    sources += [Source(fasta=fasta, annotation=path, genes=genes) for fasta, path in zip(fastas, of_fasta, strict=True)]
    if window_files:
        pairs = zip(sources, window_files, strict=True)
        sources = [source.model_copy(update={"window_file": path}) for source, path in pairs]
    return tuple(sources)


def named(sources: Sequence[Source]) -> tuple[Source, ...]:
    """The same with a name each; a second one that would get the same name by itself is numbered.

    Raises:
        UsageError: two sources that are called alike, or are the same genome or file.
    """
    given = Counter(source.name for source in sources if source.name)
    twice = next((name for name, number in given.items() if number > 1), None)
    if twice is not None:
        raise UsageError(f"two sources are named {twice}; give each its own name")
    seen: dict[object, str] = {}
    taken = set(given)
    complete = []
    for source in sources:
        what = source.genome or source.fasta
        sequence = source.genome or (source.fasta.resolve() if source.fasta else None)
        if sequence in seen:
            raise UsageError(f"{what} is given twice; name it once, with a larger weight to sample it more often")
        name = source.name or source.usual_name.translate(str.maketrans("[],\"'|", "______"))
        number = 2
        while source.name is None and name in taken:
            name = f"{source.usual_name}-{number}"
            number += 1
        taken.add(name)
        seen[sequence] = name
        complete.append(source.model_copy(update={"name": name}))
    return tuple(complete)


def check(source: Source, *, regions: Sequence[Region], where: str) -> None:
    """Refuse settings of a source that exclude each other.

    Args:
        source: as it was given.
        regions: of the source and of all sources; some may need its annotation.
        where: begins the message if there are several sources.

    Raises:
        UsageError: says what to drop or add.
    """
    if (source.genome is None) == (source.fasta is None):
        raise UsageError(f"{where}pass exactly one of --genome NAME and --fasta FILE")
    features = any(region.feature for region in regions)
    if source.genes is False and source.annotation is not None and not features:
        raise UsageError(f"{where}--tiles does not use --annotation; drop one of them")
    if source.genes and source.fasta is not None and source.annotation is None:
        raise UsageError(f"{where}--genes with --fasta FILE needs an annotation: add --annotation GENES.gtf")
    if source.window_file is not None and (
        source.genes is not None or (source.annotation is not None and not features)
    ):
        raise UsageError(f"{where}--windows FILE already defines the windows: drop --annotation, --genes and --tiles")
    if features and source.fasta is not None and source.annotation is None:
        name = next(region.feature for region in regions if region.feature)
        raise UsageError(f"{where}region {name} needs an annotation: add --annotation FILE")
    if source.window_file is not None and (source.valid or source.test):
        raise UsageError(f"{where}the window file already defines the split: drop valid and test")
