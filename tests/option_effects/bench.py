"""Registering effects, and small files to run commands on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from calls import call
from click.testing import Result
from embed_files import read_npz
from fasta_files import random_bases, write_fasta

from option_effects.effects import Effect, Effects

EFFECTS = Effects()


def shows(command: str, *keys: str) -> Callable[[Effect], Effect]:
    """Register the effect of an option of ``command``, or of options that work together."""
    return EFFECTS.shows(*((command, key) for key in keys))


class Bench:
    """Small files, and a way to run commands on them in this process."""

    def __init__(self, folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.model, self.monkeypatch = folder, model, monkeypatch
        self.sequences = {"a": random_bases(700, seed=1, letters="ACGT"), "b": random_bases(90, seed=2, letters="ACGT")}
        self.fasta = write_fasta(folder / "in.fa", self.sequences)
        self.genes = folder / "genes.gff3"
        rows = [("a", 11, 60, "+", "x"), ("a", 201, 700, "-", "y"), ("b", 31, 80, "+", "y")]
        self.genes.write_text(
            "".join(f"{c}\tx\tgene\t{s}\t{e}\t.\t{t}\t.\tID={c}{s};biotype={b}\n" for c, s, e, t, b in rows)
        )
        self.out = folder / "out.npz"

    def run(self, *words: object) -> Result:
        return call(*words)

    def embed(self, *words: object) -> dict[str, Any]:
        base = () if "--genome" in words else (self.fasta,)
        self.run("embed", *base, "-m", self.model, "-o", self.out, "--force", "--device", "cpu", *words)
        return read_npz(self.out)

    def windows(self, *words: object) -> list[list[str]]:
        chosen = {"--tiles", "-g", "--genome", "-f"} & set(map(str, words))
        base = () if chosen else ("-f", self.fasta, "-a", self.genes)
        result = self.run("windows", *base, *words)
        return [line.split("\t") for line in result.stdout.splitlines()]

    def quiets(self, module: str, *words: object) -> list[bool]:
        """Whether the progress of a run was quiet, for each of its bars."""
        from genoconv.progress import progress_bar

        seen = []

        def spy(description: str, *, quiet: bool = False, **rest: Any) -> Any:
            seen.append(quiet)
            return progress_bar(description, quiet=True, **rest)

        self.monkeypatch.setattr(f"{module}.progress_bar", spy)
        self.run(*words)
        return seen

    def given(self, target: str, *words: object, answer: Any = None) -> dict[str, Any]:
        """Keywords with which a command calls a function, which is replaced."""
        found: dict[str, Any] = {}
        self.monkeypatch.setattr(target, lambda *values, **named: found.update(named, values=values) or answer)
        self.run(*words)
        return found
