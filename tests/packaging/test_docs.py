"""The documentation site builds without a warning: links and anchors lead somewhere, pages are in place."""

import json
import os
import subprocess
import sys
from pathlib import Path

from support import HANG, ROOT


def test_the_site_builds_strictly(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    api = (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")
    for name in ("load_model", "fftconv", "score", "UsageError"):
        assert f"{name}</" in api or f">{name}" in api
    pages = {page["location"] for page in json.loads((tmp_path / "site/search/search_index.json").read_text())["docs"]}
    assert {"faq/", "glossary/", "concepts/score/", "guides/analyst/", "results/conv-nvidia-h200/"} <= pages


def test_every_picture_has_its_script() -> None:
    figures = ROOT / "docs" / "figures"
    text = "".join(path.read_text(encoding="utf-8") for path in figures.glob("*.py"))
    pictures = sorted(path.stem for path in figures.glob("*.svg"))
    assert pictures
    assert [name for name in pictures if f'"{name}")' not in text] == []
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "concepts").glob("*.md"))
    assert [name for name in pictures if f"figures/{name}.svg" not in pages] == []
