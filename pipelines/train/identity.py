"""Whether a resumed run meets the sequence and the windows that it began with."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from genoconv.genome.fasta.access import Fasta
from genoconv.genome.fasta.digests import SequencesDigest
from genoconv.wording import printable

_CHUNK = 1 << 20  # a multiple of 8: eight bases of a mask are one byte


def sequences_digest(md5: Mapping[str, str]) -> str:
    """One digest of all contigs, from name -> MD5 in their order."""
    digest = SequencesDigest()
    for name, value in md5.items():
        digest.add(name, value)
    return digest.hexdigest()


def mask_digest(fasta: Fasta, contig: str) -> str:
    """MD5 of which bases of a contig are lower case, hexadecimal."""
    md5 = hashlib.md5(usedforsecurity=False)
    length = fasta.contigs[contig]
    for start in range(0, length, _CHUNK):
        md5.update(np.packbits(fasta.soft_mask(contig, start, min(start + _CHUNK, length))).tobytes())
    return md5.hexdigest()


def changed_inputs(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two :meth:`Inputs.describe` of one run, in words; nothing where both are the same."""
    if "sources" in before or "sources" in now:
        return _changed_sources(before, now)
    old, new = (record.get("contigs") for record in (before, now))
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return ["what the run began with is not in genome.json"]
    found = []
    for what, names in (
        ("no longer has", [name for name in old if name not in new]),
        ("now also has", [name for name in new if name not in old]),
        ("has other bases on", [name for name in old if name in new and not _same(old[name], new[name], "md5")]),
        (
            "has another soft mask on",
            [
                name
                for name in old
                if name in new and _same(old[name], new[name], "md5")
                if not _same(old[name], new[name], "soft_mask_md5")
            ],
        ),
    ):
        if names:
            found.append(f"the FASTA {what} {', '.join(map(printable, names[:4]))}{', ...' if len(names) > 4 else ''}")
    if not found and list(old) != list(new):
        found.append("the FASTA has its contigs in another order")
    if not found and before.get("windows_sha256") != now["windows_sha256"]:
        found.append(_changed_windows(before, now))
    if not found and before.get("regions_sha256") != now.get("regions_sha256"):
        found.append("its regions have changed: other bases than before")
    return found


def _changed_sources(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = (record.get("sources") for record in (before, now))
    if not isinstance(old, Mapping) or not isinstance(new, Mapping) or list(old) != list(new):
        return ["the run began with other sources"]
    found = []
    for name, record in new.items():
        earlier = old[name] if isinstance(old[name], Mapping) else {}
        found += [f"{name}: {text}" for text in changed_inputs(earlier, record)]
    return found


def _changed_windows(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    source = f"the annotation {now['annotation']}" if now["annotation"] else now.get("window_file") or "the windows"
    counts = []
    for record in (before, now):
        splits = record.get("split")
        parts = splits.values() if isinstance(splits, Mapping) else []
        counts.append(
            sum(int(part.get("genes", part.get("windows", 0))) for part in parts if isinstance(part, Mapping))
        )
    unit = "genes" if now["annotation"] else "windows"
    if counts[0] != counts[1]:
        return f"{source} has changed: {counts[1]:,} {unit} where there were {counts[0]:,}"
    return f"{source} has changed: other windows than before"


def _same(one: object, other: object, key: str) -> bool:
    values = [record.get(key) if isinstance(record, Mapping) else None for record in (one, other)]
    return bool(values[0] == values[1])
