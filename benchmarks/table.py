"""All comparisons with peers, one after the other, into RESULTS.md and the plot that README shows:

    make bench                                   # some two hours on two cores
    make bench ARGS="--only short padding"       # the others keep what RESULTS.md says of them

Each is a benchmark of its own, which measures both sides by turns; its section of RESULTS.md gets the table that it
prints, and the first section what it reached.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"
PLOT = Path(__file__).parents[1] / "docs" / "bench.svg"
_TITLE = "## Beside peers: `make bench`"
_HEADER = ["| what | peer | goal | reached | |", "|---|---|---|---|---|"]
_FIGURE = r"([\d.]+) × as fast"


@dataclass(frozen=True)
class Comparison:
    """`command` prints a table, of which `figure` finds what was reached: times the peer, or a share in percent, of
    which less is better. `missed` says why, where it is below the goal."""

    name: str
    what: str
    peer: str
    command: str
    goal: float
    missed: str = ""
    figure: str = _FIGURE
    percent: bool = False

    def reached(self, printed: str) -> float:
        found = re.findall(self.figure, printed)
        if not found:
            raise SystemExit(f"{self.command}: no figure in what it printed:\n{printed}")
        return float(found[0])

    def row(self, reached: float | None) -> str:
        goal = f"≤ {self.goal:g} %" if self.percent else f"≥ {self.goal:g} ×"
        if reached is None:
            return f"| {self.what} | {self.peer} | {goal} | – | {self.missed or 'not measured'} |"
        met = reached <= self.goal if self.percent else reached >= self.goal
        value = f"{reached:g} %" if self.percent else f"{reached:.2f} ×"
        return f"| {self.what} | {self.peer} | {goal} | {value} | {'' if met else self.missed} |"


COMPARISONS = [
    Comparison(
        "short",
        "short clips, whole job",
        "faster-whisper `transcribe`",
        "python -m benchmarks.against_faster_whisper",
        3.0,
        "word times by pocketsphinx and tables take the rest",
    ),
    Comparison(
        "long",
        "long recordings, whole job",
        "faster-whisper `BatchedInferencePipeline`",
        "python -m benchmarks.against_faster_whisper --long 30 --recordings 2 --rounds 1",
        1.2,
        "the peer fills Whisper's window across all pauses, at more errors; word times by pocketsphinx",
    ),
    Comparison(
        "qwen",
        "mixed lengths, 52 M parameters, CPU",
        "qwen-asr",
        "python -m benchmarks.against_qwen_asr --clips 48 --rounds 2",
        3.5,
        "on a CPU the arithmetic of the layers is what is left",
    ),
    Comparison(
        "vllm",
        "a task's stream, 52 M parameters, CPU",
        "vLLM's own loop",
        ".venv-vllm/bin/python -m benchmarks.vllm_loop --clips 48 --rounds 3",
        0.95,
    ),
    Comparison(
        "plain",
        "whole job, tiny checkpoints",
        "pandas UDFs as tutorials write them",
        "python -m benchmarks.plain_pipeline --clips 2400 --rounds 1",
        5.0,
        "on a CPU, and with so small a model, batches gain little",
    ),
    Comparison(
        "padding",
        "padding on LibriSpeech's lengths, --config gpu",
        "the manifest's order",
        "python -m benchmarks.padding",
        10.0,
        figure=r"--config gpu[^|]*\| ([\d.]+) %",
        percent=True,
    ),
    Comparison(
        "gpu",
        "0.6B with alignment, end to end",
        "vLLM's best on one H100, 2674 times real time",
        "python -m benchmarks.gpu",
        1.12,
        "no GPU was at hand",
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.table")
    names = [one.name for one in COMPARISONS if one.name != "gpu"]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    text = RESULTS.read_text(encoding="utf-8")
    for one in COMPARISONS:
        if one.name in options.only:
            printed = run(one.command)
            text = with_row(with_table(text, one.command, printed), one.row(one.reached(printed)))
            RESULTS.write_text(text, encoding="utf-8")
    PLOT.write_text(plot(reached_in(text)), encoding="utf-8")
    print(section(text, _TITLE))


def run(command: str) -> str:
    print(f"$ {command}", file=sys.stderr, flush=True)
    python, *words = shlex.split(command)
    python = sys.executable if python == "python" else python
    done = subprocess.run([python, *words], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def section(text: str, title: str) -> str:
    """From the line `title` up to the next section."""
    begin = text.index(f"{title}\n")
    end = text.find("\n## ", begin + 1)
    return text[begin:] if end < 0 else text[begin : end + 1]


def with_table(text: str, command: str, printed: str) -> str:
    """`text` with the first table in the section of `command` as it was printed."""
    (title,) = (line for line in text.splitlines() if line.startswith("## ") and f"`{command}`" in line)
    old = section(text, title)
    tables = re.findall(r"(?:^\|.*\n)+", old, re.MULTILINE)
    (new,) = re.findall(r"(?:^\|.*\n)+", printed, re.MULTILINE)
    return text.replace(old, old.replace(tables[0], new))


def with_row(text: str, row: str) -> str:
    """`text` with this row in the first section's table, in the order of COMPARISONS."""
    old = section(text, _TITLE)
    rows = {known.what: known.row(None) for known in COMPARISONS}
    rows |= {line.split(" | ")[0].removeprefix("| "): line for line in old.splitlines() if line.startswith("| ")}
    rows[row.split(" | ")[0].removeprefix("| ")] = row
    table = "\n".join([*_HEADER, *(rows[known.what] for known in COMPARISONS)]) + "\n"
    return text.replace(old, re.sub(r"(?:^\|.*\n)+", lambda _: table, old, count=1, flags=re.MULTILINE))


def reached_in(text: str) -> dict[str, float]:
    """Times the peer, by comparison, of those that were measured."""
    lines = section(text, _TITLE).splitlines()
    cells = {line.split(" | ")[0].removeprefix("| "): line.split(" | ")[3] for line in lines if " × |" in line}
    found = {one.name: cells.get(one.what, "–") for one in COMPARISONS}
    return {name: float(cell.removesuffix(" ×")) for name, cell in found.items() if cell.endswith(" ×")}


_ROW, _LEFT, _WIDTH = 46, 8, 640


def plot(reached: dict[str, float]) -> str:
    """An SVG that turns dark with the page: a bar for each comparison, all peers as long, the goal a line."""
    shown = [one for one in COMPARISONS if one.name in reached]
    scale = (_WIDTH - 2 * _LEFT - 60) / max([*reached.values(), *(one.goal for one in shown)])
    rows = []
    for index, one in enumerate(shown):
        top, length, goal = _ROW * index + 24, scale * reached[one.name], _LEFT + scale * one.goal
        rows.append(
            f'<text x="{_LEFT}" y="{top}">{one.what}, beside {one.peer.replace("`", "")}</text>'
            f'<rect class="ours" x="{_LEFT}" y="{top + 6}" width="{length:.0f}" height="10" rx="2"/>'
            f'<rect class="peer" x="{_LEFT}" y="{top + 18}" width="{scale:.0f}" height="5" rx="2"/>'
            f'<line x1="{goal:.0f}" x2="{goal:.0f}" y1="{top + 3}" y2="{top + 26}"/>'
            f'<text class="value" x="{_LEFT + length + 6:.0f}" y="{top + 15}">{reached[one.name]:.2f} ×</text>'
        )
    height = _ROW * len(shown) + 34
    legend = f'<text class="soft" x="{_LEFT}" y="{height - 8}">thick: Lakescribe; thin: the peer; line: the goal</text>'
    return _SVG.format(width=_WIDTH, height=height, rows="\n".join([*rows, legend]))


_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" \
aria-label="How many times as fast as its peers; the table in RESULTS.md has the numbers">
<style>
text {{ font: 13px system-ui, sans-serif; fill: #1a2027; }} .soft {{ fill: #59646f; }} .value {{ font-weight: 600; }}
.ours {{ fill: #0b7285; }} .peer {{ fill: #a9b4be; }} line {{ stroke: #c2570c; stroke-width: 2; }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #e7ebef; }} .soft {{ fill: #9aa6b2; }} .ours {{ fill: #3fa9bc; }}
}}
</style>
{rows}
</svg>
"""


if __name__ == "__main__":
    main()
