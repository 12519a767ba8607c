"""One contig, many names: ``chr1``, ``1``, ``NC_000001.11``; ``chrM``, ``MT``, ``M``."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from genoconv.errors import DataError
from genoconv.wording import listed

_MITOCHONDRION = frozenset({"m", "mt", "mito", "mtdna", "chrm", "chrmt", "chrmito"})
# NC_000913.3, CM000663.2, GL000207.1
_ACCESSION = re.compile(r"([A-Z]{1,6}_?\d+)\.\d+")
UNDECLARABLE = re.compile(r"[,<>\s\"]")
"""What a name cannot hold in a ``##contig`` line of a VCF, nor a key in other lines of its header."""
_NO_ALIASES: Mapping[str, str] = MappingProxyType({})


def _numbered(first: int, names: Iterable[str]) -> dict[str, str]:
    return {f"NC_{number:06d}": name for number, name in enumerate(names, first)}


def _roman(number: int) -> str:
    tens, ones = divmod(number, 10)
    return "X" * tens + ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")[ones]


# RefSeq accessions without their version -> chromosome. The version identifies the assembly; a
# chromosome's name does not, so only lengths can distinguish assemblies there.
# Source: NCBI assembly reports of GRCh38.p14, GRCm39, R64.
REFSEQ: Mapping[str, str] = MappingProxyType(
    _numbered(1, [*map(str, range(1, 23)), "X", "Y"])  # human
    | {"NC_012920": "MT"}
    | _numbered(67, [*map(str, range(1, 20)), "X", "Y"])  # mouse
    | {"NC_005089": "MT"}
    | _numbered(1133, map(_roman, range(1, 17)))  # Saccharomyces cerevisiae
    | {"NC_001224": "MT"}
)


def match_contigs(
    query: Mapping[str, int | None],
    target: Mapping[str, int],
    *,
    aliases: Mapping[str, str] = _NO_ALIASES,
    each: bool = False,
) -> dict[str, str]:
    """Find each contig of one file among those of another.

    The strictest rule that finds a name wins: the same name; with ``chr`` added or removed; the names of the
    mitochondrion; an alias or a RefSeq accession; an accession without its version. A rule that two contigs of either
    side answer to is not used for them. Where both lengths are known they must agree.

    Args:
        query: names to look up -> length in bases, or None if not known.
        target: names of the reference -> length in bases.
        aliases: name -> another name of the same contig, for both sides.
        each: look up each name of ``query`` by itself, so that two of them (``chr9`` and ``9``) may be one contig: for
            lists of places. The contigs of one file are different, and of such two only the stricter match is found.

    Returns:
        Name in ``query`` -> name in ``target``, in the order of ``query``; names not found are left out.
    """
    taken: set[str] = set()
    found: dict[str, str] = {}
    for rule in range(len(_names("", aliases))):
        targets = _unique(target, rule, aliases)
        rest = [name for name in query if name not in found]
        keys = [(_names(name, aliases)[rule], name) for name in rest] if each else _unique(rest, rule, aliases).items()
        for key, name in keys:
            match = targets.get(key)
            if match is None or (match in taken and not each) or _other_version(name, match):
                continue
            if query[name] in (None, target[match]):
                found[name] = match
        taken |= set(found.values())
    return {name: found[name] for name in query if name in found}


class ContigFinder:
    """:func:`match_contigs` of one name at a time, for names that come one by one, each by itself.

    Args:
        target, aliases: of :func:`match_contigs`; lengths do not matter.
    """

    def __init__(self, target: Iterable[str], *, aliases: Mapping[str, str] = _NO_ALIASES) -> None:
        self._target = tuple(target)
        self._aliases = aliases
        self._keys: list[dict[str, str]] = []
        self._found: dict[str, str | None] = {}

    def find(self, name: str) -> str | None:
        """What the target calls a contig; None where it has none such."""
        if name not in self._found:
            self._found[name] = self._match(name)
        return self._found[name]

    def _match(self, name: str) -> str | None:
        for rule, key in enumerate(_names(name, self._aliases)):
            if rule == len(self._keys):
                self._keys.append(_unique(self._target, rule, self._aliases))
            match = self._keys[rule].get(key)
            if match is not None and not _other_version(name, match):
                return match
        return None


def require_contigs(
    query: Mapping[str, int | None],
    target: Mapping[str, int],
    *,
    query_source: object,
    target_source: object,
    aliases: Mapping[str, str] = _NO_ALIASES,
    each: bool = False,
) -> dict[str, str]:
    """:func:`match_contigs`, for callers that have nothing to do where no contig matches.

    Raises:
        DataError: ``query`` has contigs and none of them is found; the message shows both sides' names and lengths.
    """
    found = match_contigs(query, target, aliases=aliases, each=each)
    if query and not found:
        raise DataError(
            f"{query_source} and {target_source} have no contig in common ({_some(query)}; {_some(target)}):"
            " is one of another assembly?"
        )
    return found


def _names(name: str, aliases: Mapping[str, str]) -> tuple[str, ...]:
    """What a contig is called under each rule, strictest first."""
    plain = _plain(name)
    alias = _plain(aliases.get(name, name))
    stem = _stem(name)
    return name, plain, alias, _plain(REFSEQ.get(stem, alias)), _plain(REFSEQ.get(stem, stem))


def _stem(name: str) -> str:
    """An accession without its version; any other name as it is."""
    accession = _ACCESSION.fullmatch(name)
    return accession[1] if accession else name


def _other_version(one: str, two: str) -> bool:
    """Whether both are versions of one accession, and not the same."""
    return one != two and all(_ACCESSION.fullmatch(name) for name in (one, two)) and _stem(one) == _stem(two)


def _plain(name: str) -> str:
    """Without ``chr``, and ``MT`` for the mitochondrion."""
    if name.lower() in _MITOCHONDRION:
        return "MT"
    return name[3:] if name[:3].lower() == "chr" and len(name) > 3 else name


def _unique(names: Iterable[str], rule: int, aliases: Mapping[str, str]) -> dict[str, str]:
    """Key under a rule -> the one name that has it."""
    holders = defaultdict(list)
    for name in names:
        holders[_names(name, aliases)[rule]].append(name)
    return {key: held[0] for key, held in holders.items() if len(held) == 1}


def _some(names: Mapping[str, int | None] | Mapping[str, int]) -> str:
    return listed((name if size is None else f"{name} of {size:,}" for name, size in names.items()), limit=4)
