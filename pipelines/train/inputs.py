"""What a training run learns from and is measured on: the windows of all its sources."""

import hashlib
import itertools
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genoconv.errors import DataError, UsageError
from genoconv.pipelines.train.assembly import Assembly, find
from genoconv.pipelines.train.config import DEMO_GENOME
from genoconv.pipelines.train.identity import sequences_digest
from genoconv.pipelines.train.options import TrainConfig
from genoconv.pipelines.train.regions import OTHER
from genoconv.pipelines.train.sources import named
from genoconv.pipelines.train.synthetic import LONG_DEMO
from genoconv.wording import listed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from genoconv.train.mixture import JoinedReader, Strata
    from genoconv.train.readers import RegionWeights

log = logging.getLogger(__name__)

_MOST_STRATA = 255  # a byte for each base, less one for padding


@dataclass(frozen=True)
class Inputs:
    """The sources of a run, each with its windows.

    Attributes:
        assemblies: in the order of the configuration.
    """

    assemblies: tuple[Assembly, ...]

    @property
    def name(self) -> str:
        """What is learned from, in words."""
        return listed([assembly.title for assembly in self.assemblies], limit=6)

    @property
    def names(self) -> tuple[str, ...]:
        """Sources that figures are reported for one by one; none where there is a single one."""
        return tuple(assembly.name for assembly in self.assemblies) if len(self.assemblies) > 1 else ()

    @property
    def demo(self) -> bool:
        """Whether any of the sequences is synthetic."""
        return any(assembly.name in (DEMO_GENOME, LONG_DEMO) for assembly in self.assemblies)

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions that figures are reported for, that of all other bases last; none where there are none."""
        names = dict.fromkeys(name for one in self.assemblies if one.regions for name in one.regions.names)
        return (*names, OTHER) if names else ()

    @property
    def strata(self) -> "Strata":
        """The parts that figures are reported for."""
        from genoconv.train.mixture import Strata

        return Strata(sources=self.names, regions=self.regions)

    def reader(self, split: str, *, learn: bool = False) -> "JoinedReader":
        """The windows of one split, of all sources, with their strata; to ``learn`` from them, also loss weights."""
        from genoconv.train.mixture import JoinedReader
        from genoconv.train.readers import WindowReader

        each = max(1, len(self.regions))
        return JoinedReader(
            [
                WindowReader(
                    assembly.fasta,
                    assembly.split(split),
                    masked_weight=assembly.masked_weight if learn else None,
                    stratum=number * each if self.strata else None,
                    regions=self._weights(assembly, learn=learn),
                )
                for number, assembly in enumerate(self.assemblies)
            ]
        )

    def _weights(self, assembly: Assembly, *, learn: bool) -> "RegionWeights | None":
        import numpy as np

        from genoconv.genome.windows.regions import RegionMap
        from genoconv.train.readers import RegionWeights

        if not self.regions:
            return None
        own = assembly.regions
        if own is None:  # of several sources, one without a region: all its bases are in none
            return RegionWeights(RegionMap(assembly.fasta.contigs, []), np.array([len(self.regions) - 1], np.uint8))
        parts = np.array([self.regions.index(name) for name in (*own.names, OTHER)], np.uint8)
        weighted = learn and bool((own.loss_weights != 1).any())
        return RegionWeights(own.map, parts, own.loss_weights if weighted else None)

    def often(self) -> "npt.NDArray[np.float64] | None":
        """How often each training window is read, relative to the others; None where all are read alike.

        A window's number is the weight of its source times the mean weight of its bases.
        """
        import numpy as np

        weights = [self._often(assembly) for assembly in self.assemblies]
        every = np.concatenate(weights)
        return None if (every == every[0]).all() else every

    def _often(self, assembly: Assembly) -> "npt.NDArray[np.float64]":
        import numpy as np

        frame = assembly.split("train")
        weights = np.full(len(frame), assembly.weight)
        if assembly.regions is None or bool((assembly.regions.weights == 1).all()):
            return weights
        every = [frame[name].to_numpy(np.int64) for name in ("start", "end")]
        for contig, here in frame.groupby("contig", sort=False).indices.items():
            starts, ends = (column[here] for column in every)
            weights[here] *= assembly.regions.map.means(str(contig), starts, ends, assembly.regions.weights)
        return weights

    def shares(self) -> dict[str, float]:
        """The share of the bases read that each of several sources has, as its weight and size decide."""
        if not self.names:
            return {}
        read = {}
        for assembly in self.assemblies:
            frame = assembly.split("train")
            read[assembly.name] = float((self._often(assembly) * (frame["end"] - frame["start"]).to_numpy()).sum())
        return {name: bases / sum(read.values()) for name, bases in read.items()}

    def describe(self) -> dict[str, Any]:
        """For ``genome.json``: one source as itself, several under ``sources`` with their sums above.

        Raises:
            DataError: two sources hold the same sequence.
        """
        records = {assembly.name: assembly.describe() for assembly in self.assemblies}
        if len(records) == 1:
            return next(iter(records.values()))
        _check_different(records)
        for assembly in self.assemblies:
            records[assembly.name]["weight"] = assembly.weight
        kinds = {str(record["windows"]) for record in records.values()}
        text = "".join(f"{name}\t{record['windows_sha256']}\n" for name, record in records.items())
        return {
            "name": self.name,
            "sources": records,
            "sequences_sha256": sequences_digest({n: str(r["sequences_sha256"]) for n, r in records.items()}),
            "windows": kinds.pop() if len(kinds) == 1 else "several kinds",
            "split": {
                split: _sum([r["split"][split] for r in records.values()]) for split in ("train", "valid", "test")
            },
            "left_out": self.notes(),
            "windows_sha256": hashlib.sha256(text.encode()).hexdigest(),
        }

    def notes(self) -> list[str]:
        """What was cut and what was left out, a phrase each."""
        return [self._of(assembly, note) for assembly in self.assemblies for note in assembly.notes()]

    def summary(self, split: str) -> str:
        """The windows of one split in words."""
        return "; ".join(self._of(assembly, assembly.summary(split)) for assembly in self.assemblies)

    def _of(self, assembly: Assembly, text: str) -> str:
        return f"{assembly.name}: {text}" if self.names else text


def _sum(counts: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    total: dict[str, int] = defaultdict(int)
    for record in counts:
        for key, value in record.items():
            if isinstance(value, int):
                total[key] += value
    return dict(total)


def _check_different(records: Mapping[str, Mapping[str, Any]]) -> None:
    """What one source holds out, another must not teach."""
    contents = {
        name: {facts["md5"]: contig for contig, facts in record["contigs"].items()} for name, record in records.items()
    }
    for (one, first), (other, second) in itertools.combinations(contents.items(), 2):
        shared = [contig for digest, contig in first.items() if digest in second]
        if shared and len(shared) in (len(first), len(second)):
            raise DataError(
                f"sources {one} and {other} contain the same sequences ({listed(shared)}); drop one of them"
            )
        if shared:
            log.warning(
                "sources %s and %s share contigs (%s): sequence that is held out in one may be trained on in the other",
                one,
                other,
                listed(shared),
            )


def gather(config: TrainConfig, *, max_length: int, offline: bool, quiet: bool) -> Inputs:
    """Find the sequences and make windows of at most ``max_length`` bases on them.

    Raises:
        UsageError: a genome without the genes that are asked for; invalid contigs or fractions.
        DataError: a damaged file, or nothing left to learn from or to measure on.
        DownloadError: a genome could not be fetched.
    """
    if config.demo == "long":
        config.repeats.write()
    sources = named(config.all_sources())
    assemblies = []
    for source in sources:
        where = f"source {source.name}: " if len(sources) > 1 else ""
        found = find(source, config, max_length=max_length, offline=offline, quiet=quiet, where=where)
        assemblies.append(found)
    for assembly in assemblies:
        if assembly.split("train").empty or (assembly.split("valid").empty and len(assemblies) == 1):
            raise _nothing(assembly, "train" if assembly.split("train").empty else "valid")
    unmeasured = [assembly for assembly in assemblies if assembly.split("valid").empty]
    if len(unmeasured) == len(assemblies):
        raise _nothing(unmeasured[0], "valid")
    if unmeasured:
        names = listed([assembly.name for assembly in unmeasured], limit=6)
        log.warning("no validation windows in %s: it has no perplexity of its own", names)
    inputs = Inputs(tuple(assemblies))
    if len(inputs.strata) > _MOST_STRATA:
        raise UsageError(
            f"{len(inputs.strata):,} combinations of sources and regions, and at most {_MOST_STRATA} can be reported:"
            " name fewer"
        )
    return inputs


def _nothing(assembly: Assembly, split: str) -> DataError:
    what = "training" if split == "train" else "validation"
    if assembly.window_file is not None:
        return DataError(f"{assembly.window_file}: no windows for {what}: no row has the split {split}")
    left_out = "; ".join(["", *assembly.notes()])
    held_out = [name for name in ("valid", "test") if not assembly.split(name).empty]
    if split == "train" and held_out:
        reason = f"all of them are in {' and '.join(held_out)}; hold out less (--valid, --test), or lower --max-length"
    else:
        reason = "the genome is too small; lower --max-length"
    return DataError(f"{assembly.fasta.path}: no windows for {what}: {reason}{left_out}")
