"""The plots of the pages, as SVG that does not change unless the figures do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, StrMethodFormatter

FUSION, OTHERS = "#0b6e99", "#b8bfc6"
PANELS = {
    "insert": ("Insert", "ns a row"),
    "lookup": ("Look up", "ns a lookup"),
    "tree": ("Whole tree as JSON", "ns a node"),
    "search": ("Search, rare name", "ns a name"),
    "delete": ("Delete a subtree", "ns a node"),
}
_STYLE = {
    "svg.hashsalt": "fusion",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
}


def draw(name: str, data: dict[str, Any], file: Path) -> None:
    """Draw one of PLOTS of a ledger's data."""
    with matplotlib.rc_context(_STYLE):
        figure = PLOTS[name](data)
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None, dpi=130)


def contenders(data: dict[str, Any]) -> Figure:
    """Time by contender, a panel for each operation, and memory."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots(2, 3, sharey=True).ravel()
    for ax, (operation, (title, unit)) in zip(axes, PANELS.items(), strict=False):
        contest = data["contenders"][operation]
        values = {figures.name: figures.best / contest.count * 1e9 for figures in contest.figures}
        _bars(ax, values, title, unit)
    _bars(axes[-1], data["contenders' memory"], "Resident memory", "bytes a node")
    axes[0].invert_yaxis()  # shared by all
    return figure


def _bars(ax: Axes, values: dict[str, float], title: str, unit: str) -> None:
    """Horizontal bars, the first one Fusion's."""
    names = list(values)
    bars = ax.barh(names, list(values.values()), color=[FUSION, *[OTHERS] * (len(names) - 1)])
    ax.bar_label(bars, [_short(value) for value in values.values()], padding=3)
    ax.set_xlim(0, max(values.values()) * 1.22)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    ax.tick_params(left=False)
    ax.set_title(title, loc="left", fontweight="bold")
    ax.set_xlabel(unit)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def memory(data: dict[str, Any]) -> Figure:
    """Bytes a node at each size, by part, with what the process holds beyond them."""
    sizes = list(data["growth"].values())
    figure = Figure(figsize=(7, 3), layout="constrained")
    ax = figure.subplots()
    labels = [_nodes(found) for found in sizes]
    parts = [part for part in sizes[0]["parts"] if part != "total" and any(f["parts"][part] for f in sizes)]
    left = np.zeros(len(sizes))
    colors = ["#0b6e99", "#5aa5c4", "#a9d3e5", "#e9c46a", "#f4a261", "#cccccc"]
    for part, color in zip(parts, colors, strict=False):
        each = np.array([found["parts"][part] / found["nodes"] for found in sizes])
        ax.barh(labels, each, left=left, color=color, label=part.replace("_", " "))
        left += each
    held = np.array([found["held"] / found["nodes"] for found in sizes])
    bars = ax.barh(labels, held - left, left=left, color="#e5e5e5", label="resident, not in use")
    ax.bar_label(bars, [f"{value:.1f}" for value in held], padding=4)
    ax.set_xlim(0, held.max() * 1.12)
    ax.invert_yaxis()
    ax.set_xlabel("resident bytes a node")
    ax.set_title("Memory per node, corpus S", loc="left", fontweight="bold")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def _nodes(found: dict[str, Any]) -> str:
    return f"{found['nodes'] / 1e6:.3g} M nodes"


def batches(data: dict[str, Any]) -> Figure:
    """Every batch while the index grows, and how the times of all sizes are distributed."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    over_time, distribution = figure.subplots(1, 2)
    sizes = data["growth"]
    chosen = sizes.get(10) or next(iter(sizes.values()))
    wall = np.array(chosen["wall"]) / 1e3
    over_time.plot(np.arange(len(wall)) / 1e3, wall, ".", markersize=2, color=FUSION, rasterized=True)
    _logarithmic(over_time.set_yscale, over_time.yaxis)
    over_time.set_xlabel("rows inserted before, millions")
    over_time.set_ylabel("ms a batch of 1000 rows")
    over_time.set_title("Every batch while growing", loc="left", fontweight="bold")
    _distribution(
        distribution,
        {_nodes(found): found["wall"] for found in sizes.values()},
        "How long batches take",
    )
    return figure


def beside(data: dict[str, Any]) -> Figure:
    """Batches beside a reader of trees, and the trees."""
    found = data["beside"]
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    batch, tree = figure.subplots(1, 2)
    _distribution(
        batch,
        {"the batch itself": found["wall"], "from when it was due": found["late"]},
        "Batches beside a reader of trees",
    )
    series = {"alone": found["alone"], "beside a writer": found["beside"]}
    shown = {name: np.array(values) * 1e3 for name, values in series.items() if values}
    tree.boxplot(list(shown.values()), tick_labels=list(shown), whis=(0, 100), widths=0.4)
    tree.set_ylim(bottom=0)
    tree.set_ylabel("ms a tree (box: quartiles, whiskers: all)")
    tree.set_title("The tree", loc="left", fontweight="bold")
    if not found["beside"]:
        tree.text(0.98, 0.05, "beside a writer: no tree was finished", transform=tree.transAxes, ha="right")
    return figure


def _distribution(ax: Axes, series: dict[str, Sequence[int]], title: str) -> None:
    """Share of batches (microseconds) that take longer, both scales logarithmic."""
    for (name, values), color in zip(series.items(), (FUSION, "#e07a1f", "#5b8c3a"), strict=False):
        ordered = np.sort(values) / 1e3
        ax.step(ordered, 1 - np.arange(len(ordered)) / len(ordered), where="post", label=name, color=color)
    _logarithmic(ax.set_xscale, ax.xaxis)
    _logarithmic(ax.set_yscale, ax.yaxis)
    ax.set_xlabel("ms a batch of 1000 rows")
    ax.set_ylabel("share of batches that take longer")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:g} %"))
    ax.grid(color="#e5e5e5", linewidth=0.7)
    ax.set_title(title, loc="left", fontweight="bold")
    ax.legend(frameon=False, loc="lower left")


def _logarithmic(set_scale: Callable[[str], None], axis: Axis) -> None:
    set_scale("log")
    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.set_minor_formatter(NullFormatter())


def questions(data: dict[str, Any]) -> Figure:
    """What one question takes, a panel for each, by contender."""
    chart = data["latencies"]
    figure = Figure(figsize=(13, 5), layout="constrained")
    panels = figure.subplots(2, 4).ravel()
    for ax, (title, values) in zip(panels, chart.items(), strict=False):
        _bars(ax, values, title[0].upper() + title[1:], "ms")
        ax.invert_yaxis()
    for ax in panels[len(chart) :]:
        ax.set_visible(False)
    return figure


def streams(data: dict[str, Any]) -> Figure:
    """The whole tree over HTTP: time, and the server's memory beyond what it held."""
    figure = Figure(figsize=(8, 2), layout="constrained")
    time, memory = figure.subplots(1, 2, sharey=True)
    _bars(time, {name: seconds for name, seconds, _ in data["streams"]}, "The whole tree of 1 M nodes", "s")
    _bars(memory, {name: held / 2**20 for name, _, held in data["streams"]}, "Memory for it", "MiB")
    time.invert_yaxis()
    return figure


PLOTS: dict[str, Callable[[dict[str, Any]], Figure]] = {
    "contenders": contenders,
    "memory": memory,
    "batches": batches,
    "beside": beside,
    "questions": questions,
    "streams": streams,
}
