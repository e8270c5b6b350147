"""Makes `patients.csv`, `doses.csv` and `answers.csv`; see the README beside it.

python make.py .../hamberg2010_model.sbml.xml
"""

import csv
import re
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
DAYS = 28
PARAMETERS = (
    "clearance",
    "volume",
    "absorption_rate",
    "transit_rate_fast",
    "transit_rate_slow",
    "half_effect_concentration",
    "hill",
    "maximal_effect",
    "maximal_inr_shift",
    "baseline_inr",
)

# S-warfarin, 71 years: CYP2C9 and VKORC1 as named; the last three leave the published values, so
# that no two parameters could be mistaken for one another.
PATIENTS = {
    "*1/*1 G/G": (0.348, 14.3, 2.0, 3 / 28.6, 3 / 118.3, 4.10, 1.15, 1.0, 20.0, 1.0),
    "*1/*3 A/G": (0.2162, 14.3, 2.0, 3 / 28.6, 3 / 118.3, 3.01, 1.15, 1.0, 20.0, 1.0),
    "*3/*3 A/A": (0.0844, 14.3, 2.0, 3 / 28.6, 3 / 118.3, 1.92, 1.15, 1.0, 20.0, 1.0),
    "other 1": (0.25, 9.1, 0.7, 0.13, 0.031, 2.2, 1.9, 0.85, 17.0, 1.1),
    "other 2": (0.5, 21.0, 1.3, 0.08, 0.019, 1.1, 0.8, 0.93, 23.0, 0.9),
    "other 3": (0.15, 12.0, 3.1, 0.2, 0.04, 3.3, 2.5, 1.0, 12.0, 1.3),
}
DAILY_DOSE = (3.85, 1.75, 0.4, 2.5, 3.0, 3.5)


def doses_of(daily: float) -> list[float]:
    """Twice the dose on two days, a dose missed on the tenth, half of it from the twentieth."""
    amounts = [2 * daily] * 2 + [daily] * 17 + [daily / 2] * (DAYS - 19)
    amounts[9] = 0.0
    return amounts


def with_absorption(sbml: str, parameters: dict[str, float]) -> str:
    """The published file with values instead of placeholders, and a gut to put doses into.

    Its kinetic law is clearance × concentration, so its compartment's size is the volume.
    """
    names = {
        "clearance": "clearance",
        "transition_rate_chain_1": "transit_rate_fast",
        "transition_rate_chain_2": "transit_rate_slow",
        "half_maximal_effect_concentration": "half_effect_concentration",
        "gamma": "hill",
        "maximal_effect": "maximal_effect",
        "maximal_inr_shift": "maximal_inr_shift",
        "baseline_inr": "baseline_inr",
    }

    def once(pattern: str, replacement: str, text: str) -> str:
        text, count = re.subn(pattern, replacement, text)
        if count != 1:
            raise ValueError(f"{count} places in the SBML file look like {pattern}, not 1")
        return text

    for theirs, ours in names.items():
        value = repr(parameters[ours])
        sbml = once(rf'(<parameter id="{theirs}" value=)"[^"]*"', rf'\1"{value}"', sbml)
    sbml = once(r'(<compartment [^>]*size=)"[^"]*"', rf'\1"{parameters["volume"]!r}"', sbml)
    rate = "<ci> absorption_rate </ci><ci> gut </ci>"
    math = 'xmlns="http://www.w3.org/1998/Math/MathML"'
    sbml = once(
        "</listOfParameters>",
        f'<parameter id="absorption_rate" value="{parameters["absorption_rate"]!r}" '
        'constant="true"/><parameter id="gut" value="0" constant="false"/></listOfParameters>',
        sbml,
    )
    sbml = once(
        "</listOfRules>",
        f'<rateRule variable="gut"><math {math}><apply><minus/><apply><times/>{rate}</apply>'
        "</apply></math></rateRule></listOfRules>",
        sbml,
    )
    return once(
        "</listOfReactions>",
        '<reaction id="absorption" reversible="false"><listOfProducts>'
        '<speciesReference species="s_warfarin" stoichiometry="1" constant="true"/>'
        f"</listOfProducts><kineticLaw><math {math}><apply><times/>{rate}</apply></math>"
        "</kineticLaw></reaction></listOfReactions>",
        sbml,
    )


def simulate(sbml: str, parameters: dict[str, float], doses: list[float]) -> list[list[float]]:
    """Rows of time, concentration and INR every 12 h, by CVODE at a tolerance of 1e-12."""
    import roadrunner

    runner: Any = roadrunner.RoadRunner(with_absorption(sbml, parameters))
    runner.integrator.relative_tolerance = 1e-12
    runner.integrator.absolute_tolerance = 1e-15
    runner.integrator.maximum_num_steps = 1_000_000
    runner.timeCourseSelections = ["time", "[s_warfarin]", "inr"]
    rows: list[list[float]] = []
    for day, dose in enumerate(doses):
        runner.setValue("gut", runner.getValue("gut") + dose)
        rows += runner.simulate(24.0 * day, 24.0 * (day + 1), points=3).tolist()[:2]
    last = [runner.getValue(name) for name in ("[s_warfarin]", "inr")]
    rows.append([24.0 * len(doses), *last])
    return rows


def answers(sbml: str) -> list[list[str | float]]:
    """All rows of `answers.csv`."""
    return [
        [name, *row]
        for (name, values), daily in zip(PATIENTS.items(), DAILY_DOSE, strict=True)
        for row in simulate(sbml, dict(zip(PARAMETERS, values, strict=True)), doses_of(daily))
    ]


def _write(name: str, header: list[str], rows: list) -> None:
    with (FOLDER / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main() -> None:
    sbml = Path(sys.argv[1]).read_text(encoding="utf-8")
    _write("patients.csv", ["patient", *PARAMETERS], [[n, *v] for n, v in PATIENTS.items()])
    _write(
        "doses.csv",
        ["patient", *(f"day_{day}" for day in range(1, DAYS + 1))],
        [[n, *doses_of(d)] for n, d in zip(PATIENTS, DAILY_DOSE, strict=True)],
    )
    _write("answers.csv", ["patient", "time_h", "concentration_mg_per_l", "inr"], answers(sbml))


if __name__ == "__main__":
    main()
