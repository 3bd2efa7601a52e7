"""Both templates as CloudFormation sees them: read from the files, translated, not yet resolved."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from boto3.session import Session
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from local.cloudformation import Scope

ROOT = Path(__file__).parents[2]
HUB, STAGING, PRODUCTION = "111111111111", "222222222222", "333333333333"
REGION = "eu-west-1"

Template = Mapping[str, Any]


@cache
def source(name: str) -> Template:
    """`template.yaml` or `target.yaml` as it is written, the short forms of functions read."""
    return dict(yaml_parse((ROOT / name).read_text()))


@cache
def translated(name: str) -> Template:
    """The same without anything of SAM's. Code lies at `s3://code/<its folder>`."""
    template = yaml_parse((ROOT / name).read_text())
    for resource in template["Resources"].values():
        for uri in {"CodeUri", "ContentUri"} & resource.get("Properties", {}).keys():
            resource["Properties"][uri] = f"s3://code/{resource['Properties'][uri]}"
    translator = Translator({}, Parser(), boto_session=Session(region_name=REGION))
    return dict(translator.translate(template, {}))


def of_type(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    """Logical id and properties of every resource of one type."""
    return {
        name: resource.get("Properties", {})
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def logical(reference: Any) -> str:
    """The resource that a `Ref` or an `Fn::GetAtt` names."""
    match reference:
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), *_]}:
            return name
        case _:
            raise AssertionError(f"{reference!r} names no resource")


def as_list(value: Any) -> list[Any]:
    """IAM takes one value where it takes a list."""
    return value if isinstance(value, list) else [value]


def statements(template: Template, role: str) -> Iterator[dict[str, Any]]:
    """Every statement of a role's own policies."""
    for policy in template["Resources"][role]["Properties"].get("Policies", []):
        yield from policy["PolicyDocument"]["Statement"]


def may(template: Template, role: str, action: str, resource: Any) -> bool:
    """Whether a role's policies name `action` on `resource`, the reference as it is written."""
    return any(
        statement["Effect"] == "Allow"
        and action in as_list(statement["Action"])
        and resource in as_list(statement["Resource"])
        for statement in statements(template, role)
    )


def role_of(template: Template, function: str) -> str:
    return logical(template["Resources"][function]["Properties"]["Role"])


def resolved(name: str, value: Any, targets: tuple[str, ...] = (STAGING, PRODUCTION)) -> Any:
    """`value` with the parameters in it. It must refer to no resource."""
    given = {"template.yaml": {"TargetAccounts": ",".join(targets), "ExternalId": "an-external-id"}}
    return Scope(translated(name), given.get(name, {}), {"AWS::Region": REGION}).resolve(value)
