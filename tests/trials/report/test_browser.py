"""The report in a real browser: every figure is drawn and nothing complains."""

import re
import shutil
import subprocess

import pytest

from trials.report import render

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--v=0", "--virtual-time-budget=20000", "--dump-dom",
)  # fmt: skip


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
@pytest.mark.parametrize(
    "which",
    [
        "plain",
        pytest.param("odd", marks=pytest.mark.slow),
        pytest.param("crossover", marks=pytest.mark.slow),
    ],
)
def test_every_figure_is_drawn_without_an_error(which, tmp_path, request):
    study = request.getfixturevalue(f"{which}_study")
    page = tmp_path / "report.html"
    page.write_text(render(request.getfixturevalue(f"{which}_tree"), study), encoding="utf-8")
    done = subprocess.run(
        [str(CHROMIUM), *OPTIONS, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    # A refused request, a script's error and a broken rule of the page's security policy all
    # reach the console.
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert console == []
    plots = re.split(r'(?=<div class="plot[ "])', done.stdout)[1:]
    assert len(plots) >= 6
    for plot in plots:
        key = re.search(r'data-figure="([^"]+)"', plot)
        drawn = plot.partition("</figure>")[0].count('class="main-svg"')
        assert drawn >= 1, key
    assert "<script>alert" not in done.stdout.partition("<body>")[2]
