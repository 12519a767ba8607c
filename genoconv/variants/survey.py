"""One pass over the records before the first is scored: how many, on which contigs, with which keys."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from genoconv.variants.alleles import symbolic_or_star
from genoconv.variants.records import Record
from genoconv.variants.reserved import Unlike

_KEY = re.compile(r"(?:^|;)([^;=]+)(=?)")
_VALUE = re.compile(r"=[^;]*")
# Different lists of keys that are remembered, so that the keys of one are looked at once.
_MOST_LISTS = 4096


class Site(NamedTuple):
    """A place where REF can be checked; ``start`` is 0-based."""

    contig: str
    start: int
    ref: str


@dataclass(slots=True)
class Survey:
    """What the records hold. Dictionaries keep the order of first use.

    Attributes:
        records: how many there are.
        contigs: greatest end (0-based, exclusive) on each contig, by the VCF's names.
        info, format: keys in use; whether each ever has a value (False: a flag).
        unlike: reserved keys that are not declared and have values of another type, as ``("INFO", "SB")``.
        filters: FILTER names in use.
        is_sorted: contigs come in one run each and positions ascend within them, as an index needs it.
        sites: the first records with an ALT that spells a sequence, for holding REF against the FASTA.
    """

    records: int = 0
    contigs: dict[str, int] = field(default_factory=dict)
    info: dict[str, bool] = field(default_factory=dict)
    format: dict[str, bool] = field(default_factory=dict)
    unlike: set[tuple[str, str]] = field(default_factory=set)
    filters: dict[str, None] = field(default_factory=dict)
    is_sorted: bool = True
    sites: list[Site] = field(default_factory=list)


def survey(
    records: Iterable[Record],
    *,
    sites: int = 1000,
    keys: bool = True,
    declared: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> Survey:
    """Read all ``records`` once.

    Args:
        records: from :meth:`VariantFile.records`.
        sites: how many sites to remember.
        keys: look for INFO, FORMAT and FILTER names (a BCF cannot hold undeclared ones).
        declared: INFO and FORMAT keys of the header: :func:`.header.declared`.
    """
    seen = Survey()
    unlike = Unlike(declared.get("INFO", ()), declared.get("FORMAT", ()))
    seen.unlike = unlike.found
    contig, position = "", -1
    lists: set[str] = set()
    layouts: set[str] = set()
    for record in records:
        seen.records += 1
        if record.contig != contig:
            seen.is_sorted &= record.contig not in seen.contigs
            contig, position = record.contig, -1
        seen.is_sorted &= record.start >= position
        position = record.start
        seen.contigs[contig] = max(seen.contigs.get(contig, 0), record.end)
        if len(seen.sites) < sites and any(symbolic_or_star(alt) is None for alt in record.alts):
            seen.sites.append(Site(contig, record.start, record.ref))
        if keys:
            _note_keys(record, seen, lists, layouts, unlike)
    return seen


def _note_keys(record: Record, seen: Survey, lists: set[str], layouts: set[str], unlike: Unlike) -> None:
    columns = record.columns
    keys = _VALUE.sub("=", columns[7])
    if keys not in lists:
        if len(lists) < _MOST_LISTS:
            lists.add(keys)
        for key, value in _KEY.findall(keys) if keys != "." else ():
            if not seen.info.get(key):
                seen.info[key] = bool(value)
    layout = columns[6] + "\t" + (columns[8].split("\t", 1)[0] if len(columns) > 8 else "")
    if layout not in layouts:
        layouts.add(layout)
        filters, _, formats = layout.partition("\t")
        seen.filters.update(dict.fromkeys(filters.split(";")))
        seen.format.update(dict.fromkeys(filter(None, formats.split(":")), True))
    unlike.look(columns, info=seen.info, layout=layout.partition("\t")[2])
