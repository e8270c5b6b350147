"""The table of estimators fits what a config may say."""

from typing import get_args

from pydantic import TypeAdapter

from trials.config import AnalysisSpec, EndpointSpec
from trials.estimators import ESTIMATORS


def test_every_estimator_that_a_config_may_name_is_known():
    assert get_args(AnalysisSpec.model_fields["estimator"].annotation) == tuple(ESTIMATORS)


def test_every_kind_of_endpoint_has_an_estimator_and_none_is_made_up():
    schema = TypeAdapter(EndpointSpec).json_schema()
    kinds = set(schema["discriminator"]["mapping"])
    assert {kind for each in ESTIMATORS.values() for kind in each.endpoints} == kinds
