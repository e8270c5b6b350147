"""Whether the chains have found the posterior: traces, and what the sampler says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cohorts.fits.report.view import PosteriorView
from insilico.pages.blocks import Block, Bullets, Details, Figure, Section, facts
from insilico.pages.numbers import counted, fixed, significant, whole
from insilico.pages.panels import Panels, curve
from insilico.pages.plotting import PALETTE

MOST_POINTS = 400
"""Of a trace, which is thinned to that."""


def section(view: PosteriorView, manifest: Mapping[str, Any] | None) -> Section:
    """The sampler's own numbers, and traces."""
    blocks: list[Block] = [_sampler(view, manifest)]
    told = (manifest or {}).get("sampler", {}).get("told", [])
    if told:
        blocks.append(Bullets(told, "What the sampler did without being asked:"))
    if view.parameters:
        blocks.append(Details("Traces and ranks of all parameters", [_traces(view), _ranks(view)]))
    return Section("chains", "The chains", blocks)


def _sampler(view: PosteriorView, manifest: Mapping[str, Any] | None) -> Block:
    stats = view.group("sample_stats")
    counts = (manifest or {}).get("counts", {})
    chains, draws = stats.sizes["chain"], stats.sizes["draw"]
    warmup = view.config.sampling.warmup
    sizes = ", ".join(significant(float(s), 3) for s in stats["step_size"].isel(draw=-1))
    rows = [
        ("Chains and draws", f"{chains} × {draws:,}, after {warmup:,} of warm-up"),
        ("Divergences", whole(float(stats["diverging"].sum()))),
        ("Acceptance rate", fixed(float(stats["acceptance_rate"].mean()), 3)),
        ("Step size", sizes),
        ("Steps a draw, mean", fixed(float(stats["n_steps"].mean()), 1)),
    ]
    sampler = (manifest or {}).get("sampler", {})
    if "layout_chosen" in sampler:
        rows.append(("Layout", sampler["layout_chosen"]))
    for name, share in sampler.get("centred", {}).items():
        rows.append((f"Centred, mean over subjects: {name}", fixed(share, 2)))
    words = {
        "gradients": "Gradients of the density",
        "failed": "Trajectories that met a failed solve",
        "compilations": "Programs compiled",
        "compile_seconds": "Seconds compiling",
        "sampling_seconds": "Seconds sampling",
    }
    for name, label in words.items():
        if name in counts:
            value = counts[name]
            rows.append((label, fixed(value, 1) if isinstance(value, float) else f"{value:,}"))
    return facts("The sampler", rows, "/sample_stats, manifest")


def _traces(view: PosteriorView) -> Figure:
    panels = Panels([p.label for p in view.parameters], across=2, height=130)
    traces = []
    for number, parameter in enumerate(view.parameters):
        for chain, draws in enumerate(parameter.draws):
            step = max(1, len(draws) // MOST_POINTS)
            traces.append(
                curve(
                    np.arange(len(draws))[::step],
                    draws[::step],
                    PALETTE[chain % len(PALETTE)],
                    width=0.8,
                    hoverinfo="skip",
                    name=f"chain {chain + 1}",
                    showlegend=number == 0,
                    **panels.on(number),
                )
            )
    return Figure(
        "traces",
        "Draws of each chain in order",
        "Traces of the population's parameters, a line a chain.",
        "Chains that have converged cannot be told apart.",
        "/posterior",
        {"data": traces, "layout": panels.layout("Draw", "", gap=0.08, showlegend=True)},
        panels.total_height,
    )


def _ranks(view: PosteriorView) -> Figure:
    panels = Panels([p.label for p in view.parameters], across=3, height=120)
    bins = 20
    traces: list[dict[str, Any]] = []
    for number, parameter in enumerate(view.parameters):
        chains, draws = parameter.draws.shape
        ranks = parameter.draws.ravel().argsort().argsort().reshape(chains, draws)
        edges = np.linspace(0, chains * draws, bins + 1)
        for chain in range(chains):
            counts = np.histogram(ranks[chain], edges)[0]
            traces.append(
                curve(
                    edges[:-1] / (chains * draws),
                    counts * bins / draws,
                    PALETTE[chain % len(PALETTE)],
                    width=1.2,
                    line={"shape": "hv"},
                    hoverinfo="skip",
                    showlegend=False,
                    **panels.on(number),
                )
            )
    return Figure(
        "ranks",
        "Ranks of each chain's draws among all",
        "Rank histograms of the population's parameters by chain.",
        f"Even where chains agree: about 1 in each of {counted(bins, 'bin')}.",
        "/posterior",
        {
            "data": traces,
            "layout": panels.layout(
                "Rank (share)", "", of_y={"rangemode": "tozero"}, gap=0.06, showlegend=False
            ),
        },
        panels.total_height,
    )
