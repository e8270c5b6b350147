"""`insilico estimates` shows what a file has, under the names that a config imports."""

from pathlib import Path

FILES = Path(__file__).parents[2] / "cohorts" / "estimates" / "files"


def test_estimates_are_shown_by_the_names_that_configs_use(cli):
    answer = cli("estimates", FILES / "run12.ext", "--covariance", FILES / "run12.cov")
    assert answer.code == 0
    lines = answer.output.splitlines()
    assert lines[0].startswith("run12.ext: First Order Conditional Estimation with Interaction")
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:-1]}
    assert rows["THETA1"] == ["1.0296", "0.08", "7.8"]
    assert rows["THETA4"] == ["0.75", "fixed"]
    assert rows["OMEGA(1,1)"] == ["0.09", "0.027", "30.0", "0.3"]
    assert rows["OMEGA(2,1)"] == ["0.024", "0.0132", "55.0", "0.4"]
    assert "OMEGA(3,1)" not in rows
    assert lines[-1] == "Covariance matrix of 8 from run12.cov."


def test_nlmixr2s_estimates_are_shown_too(cli):
    answer = cli("estimates", FILES / "fit.json")
    assert answer.code == 0 and "(eta.cl,eta.v)" in answer.output


def test_mistakes_end_with_exit_code_2(cli, tmp_path):
    (tmp_path / "cut.ext").write_text("TABLE NO.     1: First Order\n")
    for file, said in (("cut.ext", "no table with a header"), ("none.ext", "cannot be read")):
        answer = cli("estimates", tmp_path / file)
        assert answer.code == 2 and said in answer.errors
