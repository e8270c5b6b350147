"""Specs: what a section of a config must look like, as frozen pydantic models."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import DEFAULT_REF_TEMPLATE, GenerateJsonSchema, JsonSchemaMode

from insilico.config.expressions import Expression
from insilico.config.problems import Path


class Spec(BaseModel):
    """Base of all specs: frozen, no keys but its own, no conversion of one type into another.

    In a config, a field of type bool takes `yes` and `no` besides `true` and `false`, and one of
    type tuple takes a list. Validators report what is wrong by raising `SpecError`. Alternatives
    are told apart by a `kind`, with `Field(discriminator="kind")`.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )


def walk(spec: BaseModel, path: Path = ()) -> Iterator[tuple[Path, BaseModel | Expression]]:
    """Every spec and expression in a parsed spec, itself first, with its path in the config.

    **Arguments:**

    - `spec`: as `Document.parse` gave it.
    - `path`: where it stands in the config.
    """
    yield path, spec
    for name, field in type(spec).model_fields.items():
        yield from _walk(getattr(spec, name), (*path, field.alias or name))


def _walk(value: Any, path: Path) -> Iterator[tuple[Path, BaseModel | Expression]]:
    if isinstance(value, BaseModel):
        yield from walk(value, path)
    elif isinstance(value, Expression):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _walk(item, (*path, index))


class _EditorSchema(GenerateJsonSchema):
    """JSON schema as editors want it: quantities and expressions as the text that is typed."""

    def generate(self, schema: Any, mode: JsonSchemaMode = "validation") -> dict[str, Any]:
        return {"$schema": self.schema_dialect} | super().generate(schema, mode)


def json_schema(spec: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a spec, with which editors complete and check configs."""
    return spec.model_json_schema(
        by_alias=True, ref_template=DEFAULT_REF_TEMPLATE, schema_generator=_EditorSchema
    )
