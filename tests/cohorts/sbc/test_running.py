"""A calibration's folder, verdict and page, by ranks that were made up."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cohorts import fits, sbc
from cohorts.diagnosis.ranks import ranks_of_correlated
from cohorts.inference.simulation_based_calibration import Ranks
from cohorts.sbc import running
from cohorts.sbc.calibrating import Ranked
from cohorts.sbc.judging import judged
from cohorts.sbc.simulating import Simulated
from insilico.cli import _prepare
from insilico.runs import RunFolder

CONFIG = Path(__file__).parents[3] / "configs" / "fit_theophylline.yaml"
PARAMETERS = ("typical_clearance", "sd_clearance", "eta_clearance[1]")
DATASETS, DRAWS = 96, 79


def made_up(ranks: np.ndarray) -> Ranked:
    """Ranks (data sets, parameters) of 100 data sets, of which some were left out."""
    count = len(ranks)
    numbers = np.delete(np.arange(count + 2), [3, 5])
    nothing: Any = None
    calibration = Ranks(
        ranks={},
        draws=DRAWS,
        p_values={},
        divergences=7,
        saturated=0.01,
        iterations=5 * DRAWS,
        truth={},
        kept={},
        possible=np.ones(count + 1, bool),
    )
    return Ranked(
        parameters=PARAMETERS,
        of_subjects=np.array([False, False, True]),
        ranks=ranks,
        truth=np.ones(ranks.shape),
        effective=np.full(ranks.shape, 70.0),
        numbers=numbers,
        impossible=(5,),
        simulated=Simulated({}, nothing, numbers, {3: 2}),
        calibration=calibration,
    )


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Uniform ranks in place of a calibration's; may be changed."""
    found = np.random.default_rng(4).integers(0, DRAWS + 1, (DATASETS, len(PARAMETERS)))
    monkeypatch.setattr(running, "rank", lambda fit, **others: made_up(found))
    # The cache would be set for the tests that follow in this process, too.
    monkeypatch.setattr(_prepare, "use_compilation_cache", lambda folder: None)
    return found


def test_a_calibrated_fit_leaves_ranks_and_a_page_with_its_verdict_first(ranks, tmp_path):
    folder = sbc.run(fits.read(CONFIG), tmp_path / "run")
    assert folder.manifest["state"] == "finished" and folder.manifest["kind"] == "sbc"
    assert folder.manifest["counts"]["unsolved"] == 1
    assert folder.manifest["counts"]["impossible"] == 1
    tree = folder.results()
    np.testing.assert_array_equal(tree["ranks"]["rank"].values, ranks)
    assert tree["coverage"]["found"].sel(interval=0.9, parameter="sd_clearance").item() > 0.8
    assert list(tree["left_out"].to_dataset()["left"].values) == [3, 5]
    page = (folder.path / "report.html").read_text(encoding="utf-8")
    assert page.index("The fit is calibrated") < page.index("Tests of uniform ranks")
    assert "η of clearance, subject 1" in page
    assert "could not be solved and are left out" in page
    assert "number 3: a solve failed of 2 subjects" in page
    assert "7 of 37,920 trajectories diverged" in page


def test_one_that_is_not_ends_with_3_and_says_how_it_is_wrong(ranks, tmp_path):
    from typer.testing import CliRunner

    from insilico.cli import app

    ranks[:, 1] //= 2
    out = tmp_path / "run"
    found = CliRunner().invoke(app, ["sbc", str(CONFIG), "--out", str(out)])
    assert found.exit_code == 3
    assert "sd_clearance: ranks are not uniform" in found.stderr
    assert "posteriors lie too high" in found.stderr
    assert "correlation of its draws does not explain it (70 of 79" in found.stderr
    assert RunFolder.open(out).manifest["state"] == "failed"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "The fit is not calibrated" in page
    again = CliRunner().invoke(app, ["report", str(out)])
    assert again.exit_code == 0, again.stderr
    assert "The fit is not calibrated" in (out / "report.html").read_text(encoding="utf-8")


def test_correlated_draws_are_told_from_a_wrong_density(ranks, monkeypatch, tmp_path):
    """Three effective draws of 395 iterations: every 132nd is worth one."""
    slow = made_up(ranks_of_correlated(np.full(DATASETS, 3.0), DRAWS, len(PARAMETERS)))
    slow.effective[:], slow.effective[:2], slow.effective[-6:] = 3.0, 1.0, 70.0
    monkeypatch.setattr(running, "rank", lambda fit, **others: slow)
    with pytest.raises(fits.NotTrusted, match="correlation.*alone.*set sbc.thin to 132 before"):
        sbc.run(fits.read(CONFIG), tmp_path / "run")
    warnings = RunFolder.open(tmp_path / "run").manifest["warnings"]
    assert "the chains of 90 of 96 data sets hardly moved, of 2 not at all" in " ".join(warnings)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "in the 6 data sets whose chains moved" in page


def test_chains_that_hardly_moved_are_no_proof_against_the_density(ranks):
    """Of a fifth of the data sets: their draws do not tell how correlated they are."""
    ranks[:, 1] //= 2
    stuck = made_up(ranks)
    stuck.effective[:20] = 2.0
    (reason,) = judged(stuck).verdict.reasons
    assert "the chains of 20 of 96 data sets hardly moved" in reason
    assert "raise sbc.warmup before the density is blamed" in reason and "is wrong" not in reason


def test_a_density_that_many_data_sets_are_impossible_to_is_wrong(ranks, monkeypatch, tmp_path):
    many = made_up(ranks)._replace(impossible=tuple(range(100, 120)))
    monkeypatch.setattr(running, "rank", lambda fit, **others: many)
    with pytest.raises(fits.NotTrusted, match="20 of 116 data sets the density gives no value"):
        sbc.run(fits.read(CONFIG), tmp_path / "run")


def test_a_mistake_ends_with_its_line(ranks, tmp_path):
    from typer.testing import CliRunner

    from insilico.cli import app

    out = tmp_path / "run"
    found = CliRunner().invoke(app, ["sbc", str(CONFIG), "--datasets", "20", "--out", str(out)])
    assert found.exit_code == 2
    assert "sbc.datasets" in found.stderr and "80" in found.stderr
    assert not out.exists()
