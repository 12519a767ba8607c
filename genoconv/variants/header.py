"""The header of a VCF: what it declares, what it fails to declare, and the lines that we add."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from genoconv.contigs import UNDECLARABLE
from genoconv.errors import UsageError
from genoconv.formats import whole_number
from genoconv.lines import shortened
from genoconv.variants.reserved import RESERVED_FORMAT, RESERVED_INFO
from genoconv.variants.survey import Survey
from genoconv.wording import count, listed

_DECLARATION = re.compile(r"##(INFO|FORMAT|FILTER|contig)=<(.*)>\s*$")
_FIELD = re.compile(r'([A-Za-z_][\w.]*)=("(?:[^"\\]|\\.)*"|[^,]*)')

# Those of UNDECLARABLE with which bcftools refuses every record that uses the name; with the others it reads them.
_HOPELESS = re.compile(r"[,<>]")
_HOPELESS_KEY = re.compile(r"(?:^|;)[^=;,<>]*[,<>]")


@dataclass(frozen=True, slots=True)
class InfoField:
    """One ``##INFO`` line."""

    id: str
    number: str
    type: str
    description: str

    @property
    def line(self) -> str:
        """The header line itself."""
        return f'##INFO=<ID={self.id},Number={self.number},Type={self.type},Description="{self.description}">'


def declared(header: Iterable[str]) -> dict[str, dict[str, dict[str, str]]]:
    """What a header declares: ``declared(h)["INFO"]["AF"]["Type"]``; also FORMAT, FILTER and contig."""
    found: dict[str, dict[str, dict[str, str]]] = {"INFO": {}, "FORMAT": {}, "FILTER": {}, "contig": {}}
    for line in header:
        match = _DECLARATION.match(line)
        if match:
            fields = {key: value.strip('"') for key, value in _FIELD.findall(match[2])}
            if "ID" in fields:
                found[match[1]].setdefault(fields["ID"], fields)
    return found


def escaped(name: str) -> str:
    """A FILTER name, INFO or FORMAT key as a header can declare it: percent-encoded, as VCF writes such characters."""
    return _HOPELESS.sub(lambda match: f"%{ord(match[0]):02X}", name)


def readable(columns: list[str]) -> list[str]:
    """A record whose names bcftools can read: :func:`escaped` where they would make it refuse the record.

    Args:
        columns: CHROM to INFO, and the rest of the line as a ninth item where there is one; changed in place.
    """
    if _HOPELESS.search(columns[6]):
        columns[6] = escaped(columns[6])
    # A value may have commas; nearly all of INFO is seen to have none without a look at its keys.
    if ("," in columns[7] or "<" in columns[7] or ">" in columns[7]) and _HOPELESS_KEY.search(columns[7]):
        items = (item.partition("=") for item in columns[7].split(";"))
        columns[7] = ";".join(f"{escaped(key)}{equals}{value}" for key, equals, value in items)
    if len(columns) > 8:
        keys = columns[8][: columns[8].find("\t")] if "\t" in columns[8] else columns[8]
        if _HOPELESS.search(keys):
            columns[8] = escaped(keys) + columns[8][len(keys) :]
    return columns


def contig_lengths(header: Iterable[str]) -> dict[str, int | None]:
    """Contigs of a header, with their lengths where a header gives them.

    2,147,483,647 and more is a placeholder that some tools write for an unknown length, and is taken as one.
    """
    lengths: dict[str, int | None] = {}
    for name, fields in declared(header)["contig"].items():
        try:
            length = whole_number(fields.get("length", ""))
        except ValueError:
            length = -1
        lengths[name] = length if 0 <= length < 2**31 - 1 else None
    return lengths


def repaired(header: list[str], survey: Survey, *, lengths: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Declare what the records use and the header does not; readers built on htslib refuse such files.

    Args:
        header: lines up to and including ``#CHROM``.
        survey: what the records use.
        lengths: contig lengths, by the names of the VCF, as far as the FASTA knows them.

    Returns:
        The header, complete, and a sentence for each kind of repair.
    """
    known = declared(header)
    added: list[str] = []
    notes: list[str] = []
    contigs = [name for name in survey.contigs if name not in known["contig"]]
    names = [name for name in contigs if not UNDECLARABLE.search(name)]
    added += [
        f"##contig=<ID={name},length={lengths[name]}>" if name in lengths else f"##contig=<ID={name}>" for name in names
    ]
    if names:
        notes.append(f"{count(len(names), 'contig')} missing from the header, and added: {listed(names)}")
    if len(names) < len(contigs):
        notes.append(_undeclared("contig", [name for name in contigs if UNDECLARABLE.search(name)]))
    for kind, used, reserved in (
        ("INFO", survey.info, RESERVED_INFO),
        ("FORMAT", survey.format, RESERVED_FORMAT),
    ):
        missing, more = _to_declare(kind, used, known[kind])
        for key in missing:
            number, type_ = reserved.get(key, (".", "String") if used.get(key, True) else ("0", "Flag"))
            if (kind, key) in survey.unlike:  # with the usual type bcftools would refuse the record, or lose the value
                number, type_ = ".", "String"
            added.append(f'##{kind}=<ID={key},Number={number},Type={type_},Description="Not declared in the input">')
        if missing:
            notes.append(f"{count(len(missing), f'{kind} key')} missing from the header, and added: {listed(missing)}")
        notes += more
    in_use = [name for name in survey.filters if name not in ("PASS", ".", "0")]
    filters, more = _to_declare("FILTER", in_use, known["FILTER"])
    added += [f'##FILTER=<ID={name},Description="Not declared in the input">' for name in filters]
    if filters:
        notes.append(f"{count(len(filters), 'FILTER name')} missing from the header, and added: {listed(filters)}")
    notes += more
    return [*header[:-1], *added, header[-1]], notes


def _to_declare(kind: str, used: Iterable[str], known: Collection[str]) -> tuple[list[str], list[str]]:
    """Names that the header lacks and can have, as they are written; and sentences about those it cannot have."""
    absent = [name for name in used if name not in known]
    hopeless = [name for name in absent if _HOPELESS.search(name)]
    others = [name for name in absent if UNDECLARABLE.search(name) and not _HOPELESS.search(name)]
    notes = [_undeclared(kind, others)] if others else []
    if hopeless:
        shown = listed(shortened(escaped(name)) for name in hopeless)
        notes.append(
            f"{count(len(hopeless), f'{kind} name')} cannot be declared because of ',', '<' or '>', and"
            f" bcftools would refuse such records; written percent-encoded: {shown}"
        )
    written = dict.fromkeys(escaped(name) for name in absent)
    return [name for name in written if name not in known and not UNDECLARABLE.search(name)], notes


def _undeclared(kind: str, names: list[str]) -> str:
    shown = listed(shortened(name) for name in names)
    number = count(len(names), f"{kind} name")
    return f"{number} cannot be declared because of blanks, quotes, ',', '<' or '>': {shown}"


def with_fields(
    header: list[str],
    fields: Iterable[InfoField],
    provenance: Mapping[str, str],
    *,
    companions: Collection[str] = (),
) -> tuple[list[str], frozenset[str]]:
    """Add our INFO lines and ``##genoconv...`` lines to a header.

    Where an earlier run's values are replaced, the lines that say how they came about are dropped.

    Args:
        header: lines up to and including ``#CHROM``.
        fields: what will be written.
        provenance: further lines, key -> value.
        companions: IDs that will not be written, and would be stale beside replaced values.

    Returns:
        The header, and the IDs that an earlier run wrote and whose values are to be dropped.

    Raises:
        UsageError: an ID is taken by another definition.
    """
    taken = declared(header)["INFO"]
    again = set()
    added = []
    for field in fields:
        if field.id not in taken:
            added.append(field.line)
            continue
        theirs = taken[field.id]
        if (theirs.get("Number"), theirs.get("Type")) != (field.number, field.type) or theirs.get(
            "Description"
        ) != field.description:
            raise UsageError(
                f"the input already has an INFO field {field.id} with another meaning "
                f"({theirs.get('Description', '')!r}); rename the new field with --info-prefix"
            )
        again.add(field.id)
    if again:
        stale = {key for key in companions if taken.get(key, {}).get("Description", "").startswith("genoconv: ")}
        again |= stale
        header = [line for line in header if not (stale and _declared_id(line) in stale)]
        header = _without_origin(header, score=provenance["genoconvScore"])
    added += [f"##{key}={value}" for key, value in provenance.items()]
    return [*header[:-1], *added, header[-1]], frozenset(again)


def _declared_id(line: str) -> str | None:
    """The ID of an ``##INFO`` line."""
    return next(iter(declared([line])["INFO"]), None)


def _without_origin(header: list[str], *, score: str) -> list[str]:
    """Without the ``##genoconv...`` lines up to each ``##genoconvScore`` of the same prefix as ``score``."""
    kept: list[str] = []
    block: list[str] = []
    for line in header:
        if line.startswith("##genoconv"):
            block.append(line)
            if line.startswith("##genoconvScore="):
                if line.removeprefix("##genoconvScore=").partition(";")[0] != score.partition(";")[0]:
                    kept += block
                block = []
        else:
            kept += [*block, line]
            block = []
    return kept
