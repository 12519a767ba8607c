"""What MkDocs gets from elsewhere: the benchmarks from their results."""

import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the benchmarks' results, tables and pictures, as ``results/``; wide tables get the room of the contents."""
    for path in sorted(RESULTS.iterdir()):
        if path.suffix == ".md":
            page = f"---\nhide: [toc]\n---\n\n{path.read_text(encoding='utf-8')}"
            files.append(File.generated(config, f"results/{path.name}", content=page))
        elif path.suffix == ".png":
            files.append(File.generated(config, f"results/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in what a page leaves to us, where its marks stand."""
    if "<!-- results -->" in markdown:
        markdown = markdown.replace("<!-- results -->", "\n".join(_results()))
    return markdown


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Docstrings name things as Sphinx does; here the name is enough."""
    return re.sub(r":(?:func|class|meth|mod|data|attr):<code>[~.]?", "<code>", html)


def _results() -> Iterator[str]:
    for path in sorted(RESULTS.glob("*.md")):
        title = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        yield f"* [{title}](results/{path.name}) (`{path.stem}`)"
