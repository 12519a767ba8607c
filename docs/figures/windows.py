"""Windows of the demo genome: whole genes on their strands, and the sets that they fall into."""

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from style import COLOURS, save

from genoconv.genome.annotation.genes import genes_on
from genoconv.genome.assemblies.fetch import resolve_genome
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.training import WindowPlan, make_windows

SHOWN = 60_000


def main() -> None:
    genome = resolve_genome("demo")
    assert genome.annotation is not None
    fasta = Fasta(genome.fasta)
    genes = genes_on(fasta, genome.annotation)
    made = make_windows(fasta, WindowPlan(max_length=2048, flank=200), genes=genes)
    frame = made.frame
    contig = frame["contig"].iloc[0]
    figure = Figure(figsize=(9, 4.6))
    near, far = figure.subplots(2, 1, height_ratios=(1.2, 2))

    some = frame[(frame["contig"] == contig) & (frame["start"] < SHOWN)]
    near.plot([0, SHOWN / 1000], [0, 0], color=COLOURS["grey"], lw=1)
    for start, end, strand, split in some[["start", "end", "strand", "split"]].itertuples(index=False):
        low = 0.15 if strand == "+" else -0.75
        near.add_patch(Rectangle((start / 1000, low), (end - start) / 1000, 0.6, color=COLOURS[split]))
    near.set(xlim=(0, SHOWN / 1000), ylim=(-1, 1), yticks=(-0.45, 0.45), yticklabels=("−", "+"))
    near.set(xlabel=f"position on {contig} (kb)", title="Windows: genes with flanks, each on its own strand")

    contigs = list(dict.fromkeys(frame["contig"]))
    for row, name in enumerate(contigs):
        far.plot([0, fasta.contigs[name] / 1000], [row, row], color=COLOURS["grey"], lw=1, zorder=0)
        for split in ("train", "valid", "test"):
            of = frame[(frame["contig"] == name) & (frame["split"] == split)]
            far.hlines([row] * len(of), of["start"] / 1000, of["end"] / 1000, color=COLOURS[split], lw=9)
    for split in ("train", "valid", "test"):
        far.plot([], [], color=COLOURS[split], lw=7, label=split)
    far.set(yticks=range(len(contigs)), yticklabels=contigs, ylim=(len(contigs) - 0.5, -0.5))
    far.set(xlabel="position (kb)", title="Sets: no base is in two of them, and overlapping genes stay together")
    far.legend(frameon=False, ncols=3, loc="upper left", bbox_to_anchor=(0, -0.2))
    figure.tight_layout()
    save(figure, "windows")


if __name__ == "__main__":
    main()
