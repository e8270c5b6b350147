"""What tests of a model need: every check of it, as one assertion."""

from __future__ import annotations

from typing import Any

from insilico.model import Model


def check_model(model: Model, **options: Any) -> None:
    """Raise `AssertionError` with every finding about `model` that is not ok.

    Likewise for a check that could not be made for want of typical values: a test that passes
    without it would say too much.

    `options` are those of `insilico.checks.check`; `only=insilico.checks.CHEAP` leaves out what
    solves.

    ```python
    def test_my_model_is_what_it_says():
        check_model(MODEL)
    ```
    """
    # Not on top: JAX starts only for who checks.
    from insilico.checks import check

    report = check(model, **options)
    wrong = (*report.failing, *report.undone)
    if wrong:
        lines = "\n".join(f"- {finding.line()}" for finding in wrong)
        raise AssertionError(f"model {model.name} fails {len(wrong)} checks:\n{lines}")
