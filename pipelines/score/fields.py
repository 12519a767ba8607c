"""Names and values of what ``genoconv score-variants`` writes: INFO fields, header lines, table columns."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from genoconv.pipelines.score.options import ScoreOptions
from genoconv.tasks.planning import Settings, Strand
from genoconv.tasks.score import Score
from genoconv.variants.alleles import Status
from genoconv.variants.header import InfoField
from genoconv.variants.records import Record
from genoconv.variants.writer import Value, format_value

_REDUCTIONS = {
    "sum": "summed over the window",
    "mean": "per base of the window",
    "site": "at the variant's own bases",
}

_SHORT = {"llr": "LLR", "forward": "FWD", "reverse": "REV", "pct": "PCT", "z": "Z", "gene": "GENE", "status": "STATUS"}
_KEY = re.compile(r"[^0-9A-Za-z_.]+")

# What would end a value of INFO, as VCF 4.3 escapes it.
_RESERVED = {ord(c): f"%{ord(c):02X}" for c in "%:;=, \t\r\n"}


@dataclass(frozen=True)
class Fields:
    """The fields of one options.

    Attributes:
        prefix: what INFO keys begin with (``GCONV``).
        widths: window lengths; with several, each has its own fields, named by the length.
        genes: the window is the gene body.
        reduce, strand: as in :class:`genoconv.tasks.planning.Settings`.
        explain: also the strands and the status.
        ranked: for each window, whether the model is calibrated for it.
        outputs: names of the outputs of a fine-tuned model; each has a field with its difference.
        per_base: whether that model predicts every base.
    """

    prefix: str
    widths: tuple[int, ...]
    genes: bool
    reduce: str
    strand: Strand
    explain: bool
    ranked: tuple[bool, ...]
    outputs: tuple[str, ...] = ()
    per_base: bool = False

    @classmethod
    def of(
        cls,
        options: ScoreOptions,
        settings: Settings,
        *,
        ranked: Sequence[bool] = (),
        outputs: Sequence[str] = (),
        per_base: bool = False,
    ) -> "Fields":
        """The fields of a run with these settings; the others as of the attributes."""
        return cls(
            options.info_prefix,
            settings.widths,
            settings.gene is not None,
            settings.reduce,
            settings.strand,
            options.explain,
            tuple(ranked) or (False,) * len(settings.widths),
            tuple(outputs),
            per_base,
        )

    @cached_property
    def _deltas(self) -> dict[str, str]:
        """Names of the differences of the outputs, as :func:`_value` knows them -> the end of their INFO key."""
        if len(self.outputs) == 1:
            return {"delta 0": "DELTA"}
        ends = [_KEY.sub("_", name) for name in self.outputs]
        if len(set(ends)) < len(ends):  # alike but for letters that no key can have
            ends = [str(number) for number in range(1, len(ends) + 1)]
        return {f"delta {k}": f"DELTA_{end}" for k, end in enumerate(ends)}

    @cached_property
    def _columns(self) -> list[tuple[int, str, str]]:
        """Index of the window, attribute of :class:`Score`, suffix of the name; for each field in order."""
        more = ["gene"] if self.genes else []
        if self.explain:
            more += ["forward"] if self.strand != Strand.REVERSE else []
            more += ["reverse"] if self.strand != Strand.FORWARD else []
            more += ["status"]
        return [
            (index, attribute, f"_{width}" if len(self.widths) > 1 else "")
            for index, (width, ranked) in enumerate(zip(self.widths, self.ranked, strict=True))
            for attribute in ["llr", *self._deltas, *(("pct", "z") if ranked else ()), *more]
        ]

    def _id(self, attribute: str, suffix: str) -> str:
        return f"{self.prefix}_{(_SHORT | self._deltas)[attribute]}{suffix}"

    def _change(self, output: str, where: str, strands: str) -> str:
        """What the field of an output of a fine-tuned model holds."""
        if self.per_base:
            return f"genoconv: greatest change at a base of the {where} of predicted {output}, ALT minus REF, {strands}"
        return (
            f"genoconv: predicted {output} of ALT minus that of REF in a {where}, on the scale of the head, {strands}"
        )

    def info_fields(self) -> list[InfoField]:
        """The ``##INFO`` lines."""
        fields = []
        for index, attribute, suffix in self._columns:
            where = "gene body" if self.genes else f"{self.widths[index]} bp window"
            what = f"ln P(alt) - ln P(ref) in a {where}, {_REDUCTIONS[self.reduce]}"
            forward = "the gene's own strand" if self.genes else "forward strand"
            reverse = "the strand opposite to the gene" if self.genes else "reverse strand"
            strands = {Strand.FORWARD: forward, Strand.REVERSE: reverse, Strand.BOTH: "mean of both strands"}
            description = {
                "llr": f"genoconv: {what}, {strands[self.strand]}; negative = less likely than REF",
                "forward": f"genoconv: {what}, {forward}",
                "reverse": f"genoconv: {what}, {reverse}",
                "pct": f"genoconv: percentile of the score in a {where} among variants of its kind; low = unexpected",
                "z": f"genoconv: standard deviations of the score in a {where} from the mean of its kind",
                "gene": "genoconv: gene whose body is the window",
                "status": f"genoconv: ok, or the reason why there is no score in the {where}",
                **{
                    name: self._change(_KEY.sub("_", output), where, strands[self.strand])
                    for name, output in zip(self._deltas, self.outputs, strict=True)
                },
            }[attribute]
            type_ = "String" if attribute in ("status", "gene") else "Float"
            fields.append(InfoField(self._id(attribute, suffix), "A", type_, description))
        return fields

    def companions(self) -> list[str]:
        """INFO keys that another run with the same windows may have written and this one does not."""
        written = {field.id for field in self.info_fields()}
        suffixes = {suffix for _, _, suffix in self._columns}
        every = [self._id(attribute, suffix) for suffix in sorted(suffixes) for attribute in _SHORT]
        return [key for key in every if key not in written]

    def info(self, record: Record, scores: Sequence[Sequence[Score]]) -> str:
        """What a record gets at the end of INFO, one value per ALT. Without ALT nothing, but a status to explain."""
        if not record.alts:
            return ";".join(
                f"{key}={Status.NO_ALT}" for key, _, attribute in self._info_columns if attribute == "status"
            )
        if len(scores) == 1:
            return ";".join([f"{key}={text(scores[0][index])}" for key, index, text in self._info_texts])
        return ";".join(
            [f"{key}={','.join([text(windows[index]) for windows in scores])}" for key, index, text in self._info_texts]
        )

    @cached_property
    def _info_columns(self) -> list[tuple[str, int, str]]:
        """INFO key, index of the window and attribute of :class:`Score` of each field."""
        return [(self._id(attribute, suffix), index, attribute) for index, attribute, suffix in self._columns]

    @cached_property
    def _info_texts(self) -> list[tuple[str, int, Callable[[Score], str]]]:
        """The same with what makes a value of a score."""
        return [(key, index, _text_of(attribute)) for key, index, attribute in self._info_columns]

    def _table_columns(self, index: int) -> tuple[str, ...]:
        ranks = ("pct", "z") if self.ranked[index] else ()
        gene = ("gene",) if self.genes else ()
        return ("llr", "forward", "reverse", *self._deltas, *ranks, *gene, "status")

    def table_header(self) -> str:
        """The first line of ``--tsv``."""
        names = [
            f"{self._deltas.get(attribute, attribute).lower()}{f'_{width}' if len(self.widths) > 1 else ''}"
            for index, width in enumerate(self.widths)
            for attribute in self._table_columns(index)
        ]
        return "\t".join(["contig", "pos", "id", "ref", "alt", *names])

    def table_rows(self, record: Record, scores: Sequence[Sequence[Score]]) -> list[str]:
        """One row per allele (POS 1-based), or one with status ``no_alt``; unscored values are empty."""
        alleles = (
            zip(record.alts, scores, strict=True) if record.alts else [(".", [Score(Status.NO_ALT)] * len(self.widths))]
        )
        columns = record.columns
        return [
            "\t".join(
                [*columns[:4], alt]
                + [
                    "" if value is None else format_value(_plain(value))
                    for index, score in enumerate(windows)
                    for value in (_value(score, attribute) for attribute in self._table_columns(index))
                ]
            )
            for alt, windows in alleles
        ]


def _value(score: Score, attribute: str) -> float | str | None:
    """An attribute of a score; ``delta 2`` is the third difference of the outputs."""
    if attribute.startswith("delta "):
        return None if score.delta is None else score.delta[int(attribute[6:])]
    found: float | str | None = getattr(score, attribute)
    return found


def _text_of(attribute: str) -> Callable[[Score], str]:
    """What writes an attribute of a score, as :func:`_value` knows it, as a value of INFO; can be pickled."""
    if attribute.startswith("delta "):
        return partial(_any_text, attribute)
    text = _word_text if attribute in ("status", "gene") else _number_text
    return partial(text, Score._fields.index(attribute))


def _any_text(attribute: str, score: Score) -> str:
    return format_value(_value(score, attribute))


def _word_text(place: int, score: Score) -> str:
    return "." if score[place] is None else str(score[place]).translate(_RESERVED)


def _number_text(place: int, score: Score) -> str:
    return "." if score[place] is None else f"{score[place]:.6g}"


def _plain(value: float | str | None) -> Value:
    # htslib takes str alone, not its subclasses.
    return str(value) if isinstance(value, str) else value
