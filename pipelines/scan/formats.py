"""What ``genoconv scan`` writes: which values of a prediction each format needs, and how they become its files."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genoconv.atomic import atomic_dir, atomic_file, atomic_files
from genoconv.errors import OutputError, UsageError
from genoconv.tasks.scan import Prediction
from genoconv.tracks.blocks import COLUMNS, Blocks
from genoconv.variants.writer import remove_indexes

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.floating]

TRACKS = {
    "entropy": "entropy of the prediction in bits",
    "ref": "ln P of the reference base",
    "mean": "mean score of the three alternatives",
    "worst": "lowest score of the three alternatives",
}


@dataclass(frozen=True)
class Format:
    """One kind of output.

    Attributes:
        suffix: of the file's name.
        columns, dtype: of the values that are kept for each position.
        reduce: those values of a prediction, (n, columns).
        bases: whether what is written has the bases of the reference.
    """

    suffix: str
    columns: int
    dtype: str
    reduce: Callable[[Prediction], "Tensor"]
    bases: bool = False


def _every(one: Prediction) -> "Tensor":
    import torch

    columns = [one.ref_log_p[:, None], one.entropy[:, None]]
    return torch.cat([one.scores, one.ratios(one.forward), one.ratios(one.reverse), *columns], dim=1)


def _tracks(one: Prediction) -> "Tensor":
    import torch

    others = one.others
    worst = torch.where(others.isnan(), torch.inf, others).amin(1)
    worst = torch.where(worst == torch.inf, torch.nan, worst)
    return torch.stack([one.entropy, one.ref_log_p, others.nanmean(1), worst], dim=1)


def _halves(one: Prediction) -> "Tensor":
    return one.scores.half()


FORMATS = (
    Format(".tsv.gz", COLUMNS, "<f4", _every, bases=True),
    Format(".vcf.gz", COLUMNS, "<f4", _every, bases=True),
    Format(".parquet", COLUMNS, "<f4", _every, bases=True),
    Format(".bw", len(TRACKS), "<f4", _tracks),
    Format(".npy", 4, "<f2", _halves),
    Format(".zarr", 4, "<f2", _halves),
)
_LIBRARIES = ((".bw", "pybigtools", "bigwig"), (".parquet", "pyarrow", "parquet"), (".zarr", "zarr", "zarr"))


def format_of(output: Path) -> Format:
    """The format that a file's name says.

    Raises:
        UsageError: none of ours, or one whose library is missing.
    """
    found = next((one for one in FORMATS if output.name.endswith(one.suffix) and output.name != one.suffix), None)
    if found is None:
        raise UsageError(f"--output {output}: give a name ending in {', '.join(one.suffix for one in FORMATS)}")
    for suffix, module, extra in _LIBRARIES:
        if found.suffix == suffix:
            try:
                __import__(module)
            except ImportError:
                raise UsageError(f"--output {output}: needs {module}: pip install 'genoconv[{extra}]'") from None
    return found


def files_of(output: Path, contigs: Sequence[str]) -> list[Path]:
    """The files of an output; several for tracks and for arrays.

    Raises:
        OutputError: two contigs would have one file.
    """
    suffix = format_of(output).suffix
    stem = output.name.removesuffix(suffix)
    if suffix == ".bw":
        return [*(output.with_name(f"{stem}.{track}.bw") for track in TRACKS), output.with_name(f"{output.name}.json")]
    if suffix == ".npy":
        names = _file_names(output, contigs)
        return [
            *(output.with_name(f"{stem}.{names[contig]}.npy") for contig in contigs),
            output.with_name(f"{output.name}.json"),
        ]
    if suffix == ".zarr":
        _file_names(output, contigs)
    return [output]


def _file_names(output: Path, contigs: Iterable[str]) -> dict[str, str]:
    """A name for each contig that a file can have.

    Raises:
        OutputError: two contigs would have the same.
    """
    names = {contig: re.sub(r"^[._]|[^\w.+-]", "_", contig) for contig in contigs}
    owner: dict[str, str] = {}
    for contig, name in names.items():
        if (other := owner.setdefault(name, contig)) != contig:
            raise OutputError(
                f"{output}: contigs {other} and {contig} would both be named {name}; write another format"
            )
    return names


def refuse_foreign(output: Path) -> None:
    """Refuse to replace what is not a Zarr store by one, ``--force`` or not.

    Raises:
        OutputError: a file, or a folder with something else in it.
    """
    if format_of(output).suffix == ".zarr" and output.exists() and not (output / "zarr.json").is_file():
        raise OutputError(f"{output} exists and is not a Zarr store; it will not be replaced, so choose another name")


def passes(output: Path, positions: int, *, contigs: int) -> int:
    """How often :func:`write` goes through all blocks."""
    from genoconv.tracks.parallel import together

    one_by_one = format_of(output).suffix == ".bw" and not together(positions, contigs=contigs)
    return len(TRACKS) if one_by_one else 1


def write(
    output: Path, blocks: Blocks, *, contigs: Mapping[str, int], positions: int, facts: Mapping[str, Any]
) -> None:
    """Write the files of an output.

    Args:
        output: decides the format.
        blocks: with the values of that format.
        contigs: lengths of those that have positions.
        positions: in all blocks.
        facts: go into a header, or into a file beside it.
    """
    files = files_of(output, list(contigs))
    notes = {f"genoconv{key[0].upper()}{key[1:]}": str(value) for key, value in facts.items()}
    suffix = format_of(output).suffix
    if suffix in (".bw", ".npy"):
        with atomic_files(files) as temporaries:
            *tracks, beside = temporaries
            if suffix == ".bw":
                from genoconv.tracks.parallel import write_bigwigs

                write_bigwigs(tracks, blocks, contigs=contigs, positions=positions)
            else:
                from genoconv.tracks.arrays import write_npy

                for (contig, length), path in zip(contigs.items(), tracks, strict=True):
                    write_npy(path, blocks(contig), length=length)
            values = TRACKS if suffix == ".bw" else "A, C, G, T"
            beside.write_text(json.dumps({**facts, "values": values}, indent=2) + "\n", encoding="utf-8")
    elif suffix == ".zarr":
        from genoconv.tracks.arrays import write_zarr

        form, names = format_of(output), _file_names(output, contigs)
        about = {**facts, "values": "A, C, G, T", "contigs": {name: contig for contig, name in names.items()}}
        with atomic_dir(output) as folder:
            write_zarr(
                folder,
                blocks,
                contigs={contig: (names[contig], length) for contig, length in contigs.items()},
                columns=form.columns,
                dtype=form.dtype,
                facts=about,
            )
    else:
        _write_table(output, suffix, blocks, contigs=contigs, notes=notes)


def _write_table(
    output: Path, suffix: str, blocks: Blocks, *, contigs: Mapping[str, int], notes: Mapping[str, str]
) -> None:
    from genoconv.tracks import tables

    indexes: list[Path] = []
    ranked = "genoconvCalibration" in notes
    try:
        with atomic_file(output) as temporary:
            if suffix == ".tsv.gz":
                tables.write_tsv(temporary, blocks, notes=notes, ranked=ranked)
            elif suffix == ".vcf.gz":
                tables.write_vcf(temporary, blocks, notes=notes, contigs=contigs, ranked=ranked)
            else:
                tables.write_parquet(temporary, blocks, notes=notes, ranked=ranked)
            indexes = [path for end in (".tbi", ".csi") if (path := temporary.with_name(temporary.name + end)).exists()]
            remove_indexes(output)
        for index in indexes:
            index.replace(output.with_name(output.name + index.suffix))
    finally:
        for index in indexes:
            index.unlink(missing_ok=True)
