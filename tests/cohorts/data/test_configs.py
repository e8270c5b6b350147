"""What a config says of a table is checked at its place in the file."""

from pathlib import Path

import pytest

from cohorts.data import DataError, DataSpec, read_patients
from insilico import models
from insilico.config import ConfigError, load

CONFIG = """title: x
data:
  file: table.csv
  columns: {subject: ID, time: TIME, measured: DV, amount: AMT, event: EVID, steady: null}
  units: {time: h, amount: mg}
  outputs:
    concentration: {unit: mg/L, limit: 0.1 mg/L}
  covariates:
    weight: {column: WT, unit: kg}
    sex: {column: SEX, categories: {male: 1, female: two}}
"""
TABLE = "ID,TIME,DV,AMT,EVID,WT,SEX,SS\n1,0,.,100,1,70,two,99\n1,1,5.1,.,0,70,two,99\n"


@pytest.fixture
def problems(tmp_path: Path, model):
    """`problems(text)`: what is wrong with a config, line by line; nothing if it is read."""

    def problems(text: str) -> list[str]:
        (tmp_path / "fit.yaml").write_text(text)
        (tmp_path / "table.csv").write_text(TABLE)
        document = load(tmp_path / "fit.yaml")
        try:
            read_patients(model, document.parse(DataSpec, path=("data",)), document=document)
        except ConfigError as error:
            return [f"{each.line} {each.field}: {each.message}" for each in error.problems]
        return []

    return problems


def test_the_file_lies_beside_the_config(problems):
    assert problems(CONFIG) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("time: h", "time: kg", "5 data.units.time: kg (a mass) cannot be turned into h"),
        (", amount: mg}", "}", "5 data.units.amount: the unit is missing"),
        ("{unit: mg/L,", "{unit: h,", "7 data.outputs.concentration.unit: h (a time) cannot"),
        ("0.1 mg/L", "0.1 h", "7 data.outputs.concentration.limit: must be a concentration"),
        ("  concentration:", "  effect:", "7 data.outputs.effect: unknown output of model"),
        ("unit: kg", "unit: kgs", '9 data.covariates.weight.unit: there is no unit "kgs"'),
        ("unit: kg", "changes: linear", "9 data.covariates.weight.changes: is for an input"),
        ("time: TIME", "times: TIME", "4 data.columns.times: unknown key"),
        ("steady: null", "steady: 3", "4 data.columns.steady: must be text"),
        ("table.csv", "tables.csv", "3 data.file: there is no such file"),
    ],
)
def test_problems_stand_where_they_were_made(problems, old, new, expected):
    told = problems(CONFIG.replace(old, new))
    assert len(told) == 1, told
    assert told[0].startswith(expected)


def test_mistakes_of_the_table_are_those_of_its_own_file(problems):
    with pytest.raises(DataError, match="table.csv: 2 mistakes(.|\n)*lines 2, 3, SEX"):
        problems(CONFIG.replace("two", "2"))


def test_doses_enter_compartments_of_their_unit(read):
    text = "ID,TIME,DV,AMT,EVID,CMT\n1,0,.,100,1,4\n1,1,5.1,.,0,.\n"
    with pytest.raises(
        DataError, match="line 2, CMT: is a dose in mg into response, which is in 1"
    ):
        read(
            text,
            model=models.get("indirect_response"),
            columns={"compartment": "CMT"},
            outputs={"central": {"unit": "mg"}},
        )
