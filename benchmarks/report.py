"""The results as a page to look at, and as the figures of the docs. Nothing here measures.

    python -m benchmarks.report                 all goals with their verdicts; build/bench/report.html with the plots
    python -m benchmarks.report --write-docs    also the marked parts of docs/, and docs/images/bench-*.svg

Reads what the benchmarks left in build/bench. A part of a page that stands between `<!-- figures NAME -->` and
`<!-- end of NAME -->` is written by the section of that name (sections.py); nobody types a figure. What was written is
kept in published.json beside this file, so that a test can tell that the pages say what was measured.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

from .harness import BenchmarkError
from .harness.build import OUTPUT, ROOT
from .plots import PLOTS
from .sections import SECTIONS, Results, all_goals, goal_table, table_of

NAMES = ("suite", "recovery", "redis", "comparison", "growth", "micro")
PUBLISHED = Path(__file__).with_name("published.json")
PAGES = (ROOT / "docs" / "performance.md", ROOT / "docs" / "explanation" / "which-rung.md")
IMAGES = ROOT / "docs" / "images"
MARKED = re.compile(r"(<!-- figures ([a-z-]+) -->\n)(.*?)(<!-- end of \2 -->)", re.DOTALL)


def results(folder: Path = OUTPUT) -> Results:
    """What the benchmarks left there, by name."""
    found = {}
    for name in NAMES:
        path = folder / f"{name}.json"
        if path.is_file():
            found[name] = json.loads(path.read_text())
    return found


def fill(text: str, found: Results) -> str:
    """A page with its marked parts written anew.

    Raises:
        BenchmarkError: a part has no section, or a mark no end.
    """

    def written(match: re.Match[str]) -> str:
        opening, name, _, closing = match.groups()
        if name not in SECTIONS:
            raise BenchmarkError(f"no section {name!r}; there are {', '.join(SECTIONS)}")
        return f"{opening}\n{SECTIONS[name](found).strip()}\n\n{closing}"

    if text.count("<!-- figures ") != len(MARKED.findall(text)):
        raise BenchmarkError("a part is opened and not closed: <!-- figures NAME --> … <!-- end of NAME -->")
    return MARKED.sub(written, text)


def rounded(value: Any) -> Any:
    """Four digits of everything: what is kept need not be noisier than what is read."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list) else value


def published(found: Results) -> Results:
    """What is kept beside the docs: rounded, and of what was skipped the names (reasons name paths of this machine)."""
    kept: Results = rounded(found)
    return {
        name: {**data, "skipped": dict.fromkeys(data.get("skipped", {}), "")} for name, data in kept.items()
    }


def plot(name: str, found: Results, form: str) -> bytes | None:
    """A plot as SVG or PNG; None where its data was not measured, or matplotlib is not there."""
    try:
        from matplotlib import pyplot
    except ImportError:
        return None
    source, draw = PLOTS[name]
    figure = draw(found[source]) if source in found else None
    if figure is None:
        return None
    into = io.BytesIO()
    figure.savefig(
        into, format=form, dpi=140, bbox_inches="tight", metadata={"Date": None} if form == "svg" else None
    )
    pyplot.close(figure)
    return into.getvalue()


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 2rem; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #e4e4e4 }
th:first-child, td:first-child { text-align: left }
.MISSED { color: #b3261e; font-weight: 600 } .reached { color: #1b7a4b }
figure { margin: 1.5rem 0 } img { max-width: 100% }
pre { background: #f6f6f6; padding: 1rem; overflow: auto; font-size: 12px } .note { color: #666 }
"""


def page(found: Results) -> str:
    """The report as one HTML file, plots included."""
    parts = [f"<!doctype html><meta charset=utf-8><title>rtbridge, measured</title><style>{STYLE}</style>"]
    parts.append("<h1>rtbridge, measured</h1>")
    dates = ", ".join(f"{name} {data['environment']['date']}" for name, data in found.items())
    parts.append(f"<p class=note>{html.escape(dates)}</p>")
    goals = goal_table(found)
    if goals is not None:
        parts.append(_table(goals.title, goals.columns, [[row.name, *row.cells] for row in goals.rows], ""))
    for name in PLOTS:
        picture = plot(name, found, "png")
        if picture is not None:
            parts.append(
                f'<figure><img alt="{name}" src="data:image/png;base64,{base64.b64encode(picture).decode()}"></figure>'
            )
    for name, data in found.items():
        parts.append(f"<h2>{name}</h2>")
        for content in data.get("tables", []):
            table = table_of(content)
            parts.append(_table(table.title, table.columns, table.texts(), table.note))
        for what, why in data.get("skipped", {}).items():
            parts.append(
                f"<p class=note>skipped: {html.escape(what)}: {html.escape(why.partition(chr(10))[0])}</p>"
            )
        parts.append(f"<pre>{html.escape(json.dumps(data['environment'], indent=1))}</pre>")
    return "\n".join(parts)


def _table(title: str, columns: Any, rows: list[list[Any]], note: str) -> str:
    head = "".join(f"<th>{html.escape(str(column))}</th>" for column in ["", *columns])
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{html.escape(str(cell).split()[0] if str(cell) else "")}">{html.escape(str(cell))}</td>'
            for cell in row
        )
        + "</tr>"
        for row in rows
    )
    said = f"<p class=note>{html.escape(note)}</p>" if note else ""
    return f"<h3>{html.escape(title)}</h3><table><tr>{head}</tr>{body}</table>{said}"


def write_page(found: Results) -> Path:
    """build/bench/report.html, of all that was measured so far; its path."""
    path = OUTPUT / "report.html"
    path.write_text(page(found))
    return path.relative_to(ROOT)


def write_docs(found: Results) -> None:
    """The marked parts of the pages, their pictures, and what both were made of."""
    kept = published(found)
    for path in PAGES:
        path.write_text(fill(path.read_text(), kept))
        print(f"wrote {path.relative_to(ROOT)}")
    for name in PLOTS:
        picture = plot(name, kept, "svg")
        if picture is not None:
            (IMAGES / f"bench-{name}.svg").write_bytes(picture)
    PUBLISHED.write_text(json.dumps(kept, indent=None, separators=(",", ":")) + "\n")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write-docs", action="store_true")
    options = parser.parse_args(arguments)
    found = results()
    if not found:
        print("nothing was measured yet: make bench-quick")
        return 1
    goals = all_goals(found)
    table = goal_table(found)
    if table is not None:
        print(table.text())
    (OUTPUT / "goals.json").write_text(json.dumps(goals, indent=1) + "\n")
    written = write_page(found)
    reached = sum(goal["verdict"] == "reached" for goal in goals)
    print(f"\n{reached} of {len(goals)} goals reached; {written}")
    if options.write_docs:
        write_docs(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
