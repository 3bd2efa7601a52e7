"""Deployment of a SAM or CloudFormation template into the embedded cloud.

SAM is translated by AWS's own translator (documentation: Serverless Application Model developer
guide, "AWS SAM template anatomy"); then each resource is made by `local.resources`, in the order of
their references. moto's own CloudFormation is not used to create them: it warns of a type that it
does not know and goes on, and takes over only some of the properties of those that it does know.
Stacks are created, not updated.
"""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

from local.cloudformation import Created, Scope, TemplateError, in_order
from local.resources import CODE_BUCKET, TYPES, Site, create

__all__ = ["Stack", "deploy", "translated"]

_SAM = "AWS::Serverless-2016-10-31"
_NESTED = "AWS::CloudFormation::Stack"
_CODE_PROPERTIES = ("CodeUri", "ContentUri")


@dataclass(frozen=True)
class Stack:
    """What a deployment made. `resources` are by logical id, those of nested stacks apart."""

    name: str
    outputs: Mapping[str, str]
    resources: Mapping[str, Created]
    nested: Mapping[str, "Stack"] = field(default_factory=dict)


def translated(path: Path) -> dict[str, Any]:
    """The CloudFormation template that CloudFormation would get from `sam deploy`.

    Code lies in `s3://local/<path from the template>`. Raises `TemplateError`.
    """
    template: dict[str, Any] = yaml_parse(path.read_text())
    if template.get("Transform") != _SAM:
        return template
    for resource in template["Resources"].values():
        _point_to_folders(resource.get("Properties", {}))
    _point_to_folders(template.get("Globals", {}).get("Function", {}))
    try:
        result: dict[str, Any] = transform(template, {}, _NoPolicyNames())
    except InvalidDocumentException as error:
        raise TemplateError("; ".join(str(cause.message) for cause in error.causes)) from error
    return result


class _NoPolicyNames:
    """SAM looks managed policies up by name; templates here name them by ARN."""

    def load(self) -> dict[str, str]:
        return {}


def _point_to_folders(properties: dict[str, Any]) -> None:
    for name in _CODE_PROPERTIES:
        if isinstance(properties.get(name), str):
            properties[name] = f"s3://{CODE_BUCKET}/{properties[name]}"


def deploy(
    path: Path,
    parameters: Mapping[str, str],
    site: Callable[[str, Path], Site],
    stack_name: str,
) -> Stack:
    """Create a stack. `site` gives the place for a stack's name and its template's folder.

    Raises `TemplateError`, naming the resource; what was made before it stays.
    """
    template = translated(path)
    place = site(stack_name, path.parent)
    scope = Scope(template, parameters, _pseudo_parameters(place))
    scope.check_rules()
    resources = _wanted(scope)
    _check_types(resources)
    nested: dict[str, Stack] = {}
    for logical in in_order(resources):
        kind = resources[logical]["Type"]
        properties = scope.resolve(deepcopy(resources[logical].get("Properties", {})))
        if kind == _NESTED:
            child = path.parent / _local_path(logical, properties)
            nested[logical] = deploy(
                child, properties.get("Parameters", {}), site, f"{stack_name}-{logical}"
            )
            outputs = {f"Outputs.{k}": v for k, v in nested[logical].outputs.items()}
            scope.created[logical] = Created(kind, nested[logical].name, outputs)
        else:
            scope.created[logical] = create(kind, place, logical, properties)
    outputs = {
        name: str(scope.resolve(output["Value"]))
        for name, output in template.get("Outputs", {}).items()
        if "Condition" not in output or scope.condition(output["Condition"])
    }
    _register(place, outputs)
    return Stack(stack_name, outputs, scope.created, nested)


def _pseudo_parameters(site: Site) -> dict[str, Any]:
    stack = f"stack/{site.stack}/{site.name('stack')[-12:].lower()}"
    return {
        "AWS::AccountId": site.account,
        "AWS::NotificationARNs": [],
        "AWS::Partition": "aws",
        "AWS::Region": site.region,
        "AWS::StackId": site.arn("cloudformation", stack),
        "AWS::StackName": site.stack,
        "AWS::URLSuffix": "amazonaws.com",
    }


def _wanted(scope: Scope) -> dict[str, Any]:
    """The resources whose condition holds."""
    return {
        logical: resource
        for logical, resource in scope.template["Resources"].items()
        if "Condition" not in resource or scope.condition(resource["Condition"])
    }


def _check_types(resources: Mapping[str, Any]) -> None:
    unknown = {
        f"{logical} is a {each['Type']}"
        for logical, each in resources.items()
        if each["Type"] not in TYPES and each["Type"] != _NESTED
    }
    if unknown:
        raise TemplateError(f"not known here: {', '.join(sorted(unknown))}")


def _local_path(logical: str, properties: Mapping[str, Any]) -> str:
    location = str(properties["TemplateURL"])
    if "://" in location:
        raise TemplateError(f"{logical}: {location} is not a local template")
    return location


def _register(site: Site, outputs: Mapping[str, str]) -> None:
    """Let `DescribeStacks` answer with the outputs; moto makes no resource from this."""
    template = {"Resources": {}, "Outputs": {k: {"Value": v} for k, v in outputs.items()}}
    site.call(
        "cloudformation",
        "create_stack",
        {"StackName": site.stack, "TemplateBody": json.dumps(template)},
    )
