"""The documented evaluation logic, case by case."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.iam import (
    Decision,
    Policy,
    PolicyError,
    Principal,
    Request,
    UnknownConditionKey,
    combined,
    decide,
    explain,
    matches_action,
    parse,
)

HUB, OTHER = "111111111111", "222222222222"
ROLE = f"arn:aws:iam::{HUB}:role/path/reader"
SESSION = f"arn:aws:sts::{HUB}:assumed-role/reader/run"
READER = Principal(account=HUB, arn=SESSION, role=ROLE)
OBJECT = "arn:aws:s3:::models/churn/1/model.tar.gz"


def policy(
    *statements: dict[str, Any], name: str = "policy", version: str = "2012-10-17"
) -> Policy:
    return parse(json.dumps({"Version": version, "Statement": list(statements)}), name)


def allow(action: Any = "s3:GetObject", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any = "s3:GetObject", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def granting(principal: Any, **more: Any) -> Policy:
    return policy(allow(Principal=principal, **more), name="bucket policy")


def request(
    action: str = "s3:GetObject",
    resource: str = OBJECT,
    *,
    owner: str = HUB,
    principal: Principal = READER,
    **context: Any,
) -> Request:
    keys = {
        key.replace("__", ":"): value if isinstance(value, list) else [value]
        for key, value in context.items()
    }
    return Request(principal, action, resource, owner, keys)


# --- actions and resources -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "action", "covered"),
    [
        ("s3:GetObject", "s3:GetObject", True),
        ("S3:getobject", "s3:GetObject", True),
        ("s3:Get*", "s3:GetObject", True),
        ("s3:*Object", "s3:GetObject", True),
        ("s3:?etObject", "s3:GetObject", True),
        ("*", "s3:GetObject", True),
        ("s3:GetObject", "s3:GetObjectVersion", False),
        ("s3:Get?", "s3:GetObject", False),
        ("sns:*", "s3:GetObject", False),
        ("s3:Get.*", "s3:GetObject", False),
    ],
)
def test_action_patterns(pattern: str, action: str, covered: bool) -> None:
    assert matches_action(pattern, action) is covered
    assert decide(request(action), [policy(allow(pattern))]).allowed is covered


@pytest.mark.parametrize(
    ("pattern", "resource", "covered"),
    [
        ("*", "*", True),
        ("arn:aws:s3:::models/*", "arn:aws:s3:::models/a/b", True),
        ("arn:aws:s3:::models/*", "arn:aws:s3:::models", False),
        ("arn:aws:s3:::models", "arn:aws:s3:::Models", False),
        ("arn:aws:s3:::models/?/b", "arn:aws:s3:::models/a/b", True),
        ("arn:aws:s3:::models/*/b", "arn:aws:s3:::models/x/y/b", True),
        # a `*` inside a segment stays within it; one that ends its segment does not
        ("arn:aws:sns:*:111111111111:x", "arn:aws:sns:eu-west-1:111111111111:x", True),
        ("arn:aws:cloudwatch:*:*:alarm:a", "arn:aws:cloudwatch:eu-west-1:1:alarm:a", True),
        ("arn:aws:cloudwatch:e*:alarm:a", "arn:aws:cloudwatch:eu-west-1:1:alarm:a", True),
        ("arn:aws:cloudwatch:e*1:alarm:a", "arn:aws:cloudwatch:eu-west-1:1:alarm:a", False),
        (
            "arn:aws:sagemaker:eu-west-1:1:endpoint/c*",
            "arn:aws:sagemaker:eu-west-1:1:model/c",
            False,
        ),
    ],
)
def test_resource_patterns(pattern: str, resource: str, covered: bool) -> None:
    asked = request("x:Do", resource)
    assert decide(asked, [policy(allow("x:Do", pattern))]).allowed is covered


def test_not_action_covers_all_others() -> None:
    everything_but_iam = policy({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"})
    assert decide(request("s3:GetObject"), [everything_but_iam]).allowed
    assert not decide(request("iam:PassRole"), [everything_but_iam]).allowed


def test_not_resource_covers_all_others() -> None:
    elsewhere = policy(
        {"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::models/secret/*"}
    )
    assert decide(request(), [elsewhere]).allowed
    assert not decide(request(resource="arn:aws:s3:::models/secret/x"), [elsewhere]).allowed


# --- evaluation within an account and across -------------------------------------------------


def test_nothing_is_allowed_by_default() -> None:
    decision = decide(request(), [])
    assert decision == Decision(allowed=False, matched=(), blame="identity")


@pytest.mark.parametrize("where", ["identity", "resource", "session", "boundary"])
def test_an_explicit_deny_wins_wherever_it_stands(where: str) -> None:
    refused = {"Principal": "*"} if where == "resource" else {}
    policies = {
        "identity": policy(allow("*")),
        "resource": policy(allow("*", Principal="*")),
        "session": policy(allow("*")),
        "boundary": policy(allow("*")),
    }
    assert _decide_by_name(policies).allowed
    policies[where] = combined("with deny", [policies[where], policy(deny(**refused))])
    decision = _decide_by_name(policies)
    assert (decision.allowed, decision.explicit, decision.blame) == (False, True, where)


def _decide_by_name(policies: dict[str, Policy]) -> Decision:
    return decide(
        request(),
        [policies["identity"]],
        policies["resource"],
        policies["session"],
        policies["boundary"],
    )


ACCOUNT_ROOT = {"AWS": f"arn:aws:iam::{HUB}:root"}


@pytest.mark.parametrize(
    ("principal", "identity", "same_account", "across"),
    [
        ("*", False, True, False),
        ("*", True, True, True),
        ({"AWS": "*"}, False, True, False),
        ({"AWS": ROLE}, False, True, False),
        ({"AWS": ROLE}, True, True, True),
        ({"AWS": SESSION}, False, True, False),
        ({"AWS": SESSION}, True, True, True),
        # naming the account delegates to its own policies
        (ACCOUNT_ROOT, False, False, False),
        (ACCOUNT_ROOT, True, True, True),
        ({"AWS": HUB}, False, False, False),
        ({"AWS": [HUB, OTHER]}, True, True, True),
        ({"AWS": f"arn:aws:iam::{OTHER}:root"}, True, True, False),
        ({"AWS": f"arn:aws:iam::{HUB}:role/reader"}, True, True, False),  # not this role's path
        ({"Service": "events.amazonaws.com"}, True, True, False),
        ({"Federated": "accounts.google.com"}, True, True, False),
    ],
)
def test_identity_and_resource_policy(
    principal: Any, identity: bool, same_account: bool, across: bool
) -> None:
    own = [policy(allow())] if identity else []
    assert decide(request(), own, granting(principal)).allowed is same_account
    assert decide(request(owner=OTHER), own, granting(principal)).allowed is across


def test_across_accounts_the_identity_policy_alone_does_not_suffice() -> None:
    decision = decide(request(owner=OTHER), [policy(allow("*"))])
    assert (decision.allowed, decision.blame) == (False, "resource")


@pytest.mark.parametrize(
    ("principal", "identity", "allowed", "blame"),
    [
        (None, True, False, "resource"),
        (ACCOUNT_ROOT, True, True, None),
        (ACCOUNT_ROOT, False, False, "identity"),
        ({"AWS": ROLE}, False, True, None),
        ({"AWS": OTHER}, True, False, "resource"),
    ],
)
def test_a_key_policy_must_consent_in_its_own_account_too(
    principal: Any, identity: bool, allowed: bool, blame: str | None
) -> None:
    decision = decide(
        request(),
        [policy(allow())] if identity else [],
        granting(principal) if principal else None,
        resource_policy_required=True,
    )
    assert (decision.allowed, decision.blame) == (allowed, blame)


def test_a_session_policy_narrows_what_the_role_may() -> None:
    narrow = policy(allow("s3:PutObject"))
    decision = decide(request(), [policy(allow("*"))], session_policy=narrow)
    assert (decision.allowed, decision.blame) == (False, "session")
    assert decide(request("s3:PutObject"), [policy(allow("*"))], session_policy=narrow).allowed
    assert not decide(request("s3:PutObject"), [], session_policy=narrow).allowed


def test_a_boundary_narrows_and_never_grants() -> None:
    boundary = policy(allow("s3:Get*"))
    assert decide(request(), [policy(allow("*"))], permissions_boundary=boundary).allowed
    assert not decide(request(), [], permissions_boundary=boundary).allowed
    refused = decide(request("s3:PutObject"), [policy(allow("*"))], permissions_boundary=boundary)
    assert (refused.allowed, refused.blame) == (False, "boundary")


@pytest.mark.parametrize(("principal", "allowed"), [(ROLE, False), ("*", False), (SESSION, True)])
def test_only_a_grant_to_the_session_itself_passes_its_session_policy(
    principal: str, allowed: bool
) -> None:
    nothing = policy(allow("x:Nothing"))
    decision = decide(
        request(), [], granting({"AWS": principal}), nothing, permissions_boundary=nothing
    )
    assert decision.allowed is allowed


def test_a_service_needs_the_resource_policy_alone() -> None:
    events = Principal(service="events.amazonaws.com")
    asked = request("sqs:SendMessage", "arn:aws:sqs:eu-west-1:111111111111:q", principal=events)
    by_events = policy(allow("sqs:SendMessage", Principal={"Service": "events.amazonaws.com"}))
    by_other = policy(allow("sqs:SendMessage", Principal={"Service": "s3.amazonaws.com"}))
    assert decide(asked, [], by_events).allowed
    assert not decide(asked, [], by_other).allowed
    assert not decide(asked, [policy(allow("*"))]).allowed


@pytest.mark.parametrize(
    ("named", "denied"),
    [
        ([f"arn:aws:iam::{HUB}:root", ROLE, SESSION], False),
        ([f"arn:aws:iam::{HUB}:root", ROLE], True),
        ([ROLE], True),
        ([OTHER], True),
    ],
)
def test_not_principal_exempts_who_is_named_with_role_and_account(
    named: list[str], denied: bool
) -> None:
    refusing = policy(
        {"Effect": "Deny", "NotPrincipal": {"AWS": named}, "Action": "*", "Resource": "*"}
    )
    assert decide(request(), [policy(allow())], refusing).explicit is denied


def test_a_decision_names_the_statements_that_applied() -> None:
    own = policy({"Sid": "Read", **allow("s3:Get*")}, allow("s3:Put*"), deny("*"), name="inline")
    matched = decide(request(), [own]).matched
    assert [(m.source, m.policy, m.statement, m.effect, m.pattern) for m in matched] == [
        ("identity", "inline", "Read", "Allow", "s3:Get*"),
        ("identity", "inline", "2", "Deny", "*"),
    ]


# --- policy variables ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "tags", "allowed"),
    [
        (
            "arn:aws:s3:::models/${aws:PrincipalTag/group}/*",
            {"aws:PrincipalTag/group": "churn"},
            True,
        ),
        (
            "arn:aws:s3:::models/${AWS:principaltag/GROUP}/*",
            {"aws:PrincipalTag/group": "churn"},
            True,
        ),
        (
            "arn:aws:s3:::models/${aws:PrincipalTag/group}/*",
            {"aws:PrincipalTag/group": "fraud"},
            False,
        ),
        # a value is taken as it stands, so its wildcards are no wildcards
        ("arn:aws:s3:::models/${aws:PrincipalTag/group}/*", {"aws:PrincipalTag/group": "*"}, False),
        ("arn:aws:s3:::models/${aws:PrincipalTag/group}/*", {}, False),
        ("arn:aws:s3:::models/${aws:PrincipalTag/group, 'churn'}/*", {}, True),
        ("arn:aws:s3:::models/${*}/*", {}, False),
    ],
)
def test_variables_in_resources(pattern: str, tags: dict[str, str], allowed: bool) -> None:
    asked = Request(READER, "s3:GetObject", OBJECT, HUB, {k: [v] for k, v in tags.items()})
    assert decide(asked, [policy(allow(resource=pattern))]).allowed is allowed


def test_a_variable_of_an_escaped_star_is_a_star() -> None:
    asked = request(resource="arn:aws:s3:::models/*/x")
    assert decide(asked, [policy(allow(resource="arn:aws:s3:::models/${*}/x"))]).allowed


def test_the_older_version_has_no_variables() -> None:
    pattern = "arn:aws:s3:::models/${aws:PrincipalTag/group}/*"
    asked = Request(READER, "s3:GetObject", OBJECT, HUB, {"aws:PrincipalTag/group": ["churn"]})
    assert not decide(asked, [policy(allow(resource=pattern), version="2008-10-17")]).allowed


# --- conditions ------------------------------------------------------------------------------

REGION = "aws:RequestedRegion"


@pytest.mark.parametrize(
    ("operator", "wanted", "actual", "holds"),
    [
        ("StringEquals", "eu", "eu", True),
        ("StringEquals", "eu", "EU", False),
        ("StringEquals", ["us", "eu"], "eu", True),
        ("StringEquals", "e*", "eu", False),
        ("StringNotEquals", "us", "eu", True),
        ("StringNotEquals", ["us", "eu"], "eu", False),
        ("StringEqualsIgnoreCase", "EU", "eu", True),
        ("StringNotEqualsIgnoreCase", "EU", "eu", False),
        ("StringLike", "e?-*", "eu-west-1", True),
        ("StringLike", "e?", "eu-west-1", False),
        ("StringNotLike", "us-*", "eu-west-1", True),
        ("ArnLike", "arn:aws:iam::*:role/path/*", ROLE, True),
        ("ArnEquals", "arn:aws:iam::*:role/path/*", ROLE, True),
        ("ArnLike", "arn:aws:iam:*:role/path/reader", ROLE, False),
        ("ArnLike", "reader", ROLE, False),
        ("ArnNotLike", "arn:aws:iam::*:role/other", ROLE, True),
        ("ArnNotEquals", ROLE, ROLE, False),
        ("NumericEquals", "10", "10.0", True),
        ("NumericEquals", 10, "10", True),
        ("NumericNotEquals", "10", "9", True),
        ("NumericLessThan", "10", "9", True),
        ("NumericLessThan", "10", "10", False),
        ("NumericLessThanEquals", "10", "10", True),
        ("NumericGreaterThan", "10", "11", True),
        ("NumericGreaterThanEquals", "10", "9", False),
        ("DateLessThan", "2026-01-02T00:00:00Z", "2026-01-01T23:59:59+00:00", True),
        ("DateGreaterThan", "2026-01-02", "2026-01-01T00:00:00Z", False),
        ("DateEquals", "1767225600", "2026-01-01T00:00:00Z", True),
        ("DateNotEquals", "2026-01-01", "2026-01-02", True),
        ("DateLessThanEquals", "2027", "2026-06-01", True),
        ("DateGreaterThanEquals", "2026-06-01", "2026-06-01", True),
        ("Bool", "true", "true", True),
        ("Bool", True, "true", True),
        ("Bool", "true", "false", False),
        ("BinaryEquals", "QUFB", "QUFB", True),
        ("BinaryEquals", "QUFB", "QUFC", False),
        ("IpAddress", "203.0.113.0/24", "203.0.113.7", True),
        ("IpAddress", ["198.51.100.1", "203.0.113.0/24"], "203.0.114.7", False),
        ("IpAddress", "2001:db8::/32", "203.0.113.7", False),
        ("IpAddress", "2001:db8::/32", "2001:db8::1", True),
        ("NotIpAddress", "203.0.113.0/24", "203.0.114.7", True),
        ("Null", "false", "eu", True),
        ("Null", "true", "eu", False),
    ],
)
def test_condition_operators(operator: str, wanted: Any, actual: str, holds: bool) -> None:
    asked = Request(READER, "s3:GetObject", OBJECT, HUB, {REGION: [actual]})
    own = policy(allow(Condition={operator: {REGION.upper(): wanted}}))
    assert decide(asked, [own]).allowed is holds


@pytest.mark.parametrize(
    ("operator", "holds"),
    [
        ("StringEquals", False),
        ("StringLike", False),
        ("ArnLike", False),
        ("NumericLessThan", False),
        ("DateLessThan", False),
        ("Bool", False),
        ("IpAddress", False),
        ("StringNotEquals", True),
        ("StringNotLike", True),
        ("ArnNotLike", True),
        ("NumericNotEquals", True),
        ("DateNotEquals", True),
        ("NotIpAddress", True),
        ("StringEqualsIfExists", True),
        ("StringLikeIfExists", True),
        ("BoolIfExists", True),
        ("ArnEqualsIfExists", True),
        ("ForAllValues:StringEquals", True),
        ("ForAnyValue:StringEquals", False),
        ("ForAnyValue:StringNotEquals", False),
        ("ForAnyValue:StringEqualsIfExists", True),
    ],
)
def test_conditions_on_an_absent_key(operator: str, holds: bool) -> None:
    own = policy(allow(Condition={operator: {"aws:PrincipalTag/team": "true"}}))
    assert decide(request(), [own]).allowed is holds


@pytest.mark.parametrize(("wanted", "holds"), [("true", True), ("false", False)])
def test_null_asks_whether_the_key_is_absent(wanted: str, holds: bool) -> None:
    own = policy(allow(Condition={"Null": {"aws:SourceIdentity": wanted}}))
    assert decide(request(), [own]).allowed is holds


@pytest.mark.parametrize(
    ("operator", "wanted", "actual", "holds"),
    [
        ("ForAllValues:StringEquals", ["a", "b"], ["a"], True),
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "c"], False),
        ("ForAllValues:StringEquals", ["a", "b"], [], True),
        ("ForAllValues:StringNotEquals", ["a"], ["b", "c"], True),
        ("ForAllValues:StringNotEquals", ["a"], ["a", "c"], False),
        ("ForAllValues:StringLike", ["release-*"], ["release-1", "release-2"], True),
        ("ForAnyValue:StringEquals", ["a", "b"], ["c", "b"], True),
        ("ForAnyValue:StringEquals", ["a", "b"], ["c"], False),
        ("ForAnyValue:StringEquals", ["a"], [], False),
        ("ForAnyValue:StringNotEquals", ["a"], ["a", "b"], True),
    ],
)
def test_multivalued_keys(operator: str, wanted: list[str], actual: list[str], holds: bool) -> None:
    asked = Request(READER, "s3:GetObject", OBJECT, HUB, {"aws:TagKeys": actual})
    own = policy(allow(Condition={operator: {"aws:TagKeys": wanted}}))
    assert decide(asked, [own]).allowed is holds


def test_all_keys_and_operators_must_hold() -> None:
    own = policy(
        allow(
            Condition={
                "StringEquals": {REGION: "eu", "aws:PrincipalTag/team": "ml"},
                "Bool": {"aws:SecureTransport": "true"},
            }
        )
    )
    right = {REGION: ["eu"], "aws:PrincipalTag/team": ["ml"], "aws:SecureTransport": ["true"]}
    assert decide(Request(READER, "s3:GetObject", OBJECT, HUB, right), [own]).allowed
    for key in right:
        wrong = {**right, key: ["other"]}
        assert not decide(Request(READER, "s3:GetObject", OBJECT, HUB, wrong), [own]).allowed


def test_variables_in_conditions_are_literal_and_may_be_unset() -> None:
    own = policy(
        allow(Condition={"StringLike": {"s3:prefix": "${aws:PrincipalTag/group}/*"}}),
    )
    tagged = {"s3:prefix": ["churn/1"], "aws:PrincipalTag/group": ["churn"]}
    assert decide(Request(READER, "s3:GetObject", OBJECT, HUB, tagged), [own]).allowed
    starred = {**tagged, "aws:PrincipalTag/group": ["*"]}
    assert not decide(Request(READER, "s3:GetObject", OBJECT, HUB, starred), [own]).allowed
    untagged = {"s3:prefix": ["churn/1"]}
    assert not decide(Request(READER, "s3:GetObject", OBJECT, HUB, untagged), [own]).allowed


# --- what is not known is an error -----------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        allow(Condition={"StringMatches": {REGION: "x"}}),
        allow(Condition={"ForSomeValues:StringEquals": {REGION: "x"}}),
        allow(Condition={"NullIfExists": {REGION: "true"}}),
        allow(Conditions={}),
        allow(Principal={"Group": "x"}),
        allow(Principal="everyone"),
        allow(Principal={"AWS": f"arn:aws:iam::{HUB}:role/*"}),
        allow(Principal={"AWS": "reader"}),
        {"Effect": "allow", "Action": "*", "Resource": "*"},
        {"Effect": "Allow", "Resource": "*"},
        {"Effect": "Allow", "Action": "*", "NotAction": "*", "Resource": "*"},
        {"Effect": "Allow", "Action": "*", "Resource": "*", "NotResource": "*"},
    ],
)
def test_what_iam_would_refuse_is_an_error(statement: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        policy(statement)


def test_an_unknown_version_is_an_error() -> None:
    with pytest.raises(PolicyError, match="2020"):
        policy(allow(), version="2020-01-01")


@pytest.mark.parametrize("effect", [allow, deny])
@pytest.mark.parametrize("key", ["aws:SourceIp", "sagemaker:Colour", "aws:ResourceTag/team"])
def test_a_key_nobody_fills_is_an_error_in_a_statement_that_applies(effect: Any, key: str) -> None:
    own = policy(effect(Condition={"StringEqualsIfExists": {key: "x"}}))
    with pytest.raises(UnknownConditionKey, match=key):
        decide(request(), [own])
    assert not decide(request("s3:PutObject"), [own]).allowed


def test_a_key_known_to_be_absent_is_none() -> None:
    own = policy(allow(Condition={"Null": {"aws:ResourceTag/team": "true"}}))
    asked = Request(READER, "s3:GetObject", OBJECT, HUB, {}, absent=("aws:resourcetag/",))
    assert decide(asked, [own]).allowed


def test_several_values_under_a_plain_operator_are_an_error() -> None:
    own = policy(allow(Condition={"StringEquals": {"aws:TagKeys": "a"}}))
    with pytest.raises(PolicyError, match="ForAllValues"):
        decide(Request(READER, "s3:GetObject", OBJECT, HUB, {"aws:TagKeys": ["a", "b"]}), [own])


def test_a_resource_policy_without_principal_is_an_error() -> None:
    with pytest.raises(PolicyError, match="Principal"):
        decide(request(), [], policy(allow()))


# --- trust policies --------------------------------------------------------------------------

TARGET = f"arn:aws:iam::{OTHER}:role/sageops-target"
TRUST = policy(
    {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{HUB}:root"},
        "Action": "sts:AssumeRole",
        "Condition": {
            "StringEquals": {"sts:ExternalId": "secret", "aws:PrincipalOrgID": "o-1"},
            "ArnEquals": {"aws:PrincipalArn": ROLE},
        },
    },
    {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{HUB}:root"},
        "Action": ["sts:TagSession", "sts:SetSourceIdentity"],
        "Condition": {"StringLike": {"sts:SourceIdentity": "release-*"}},
    },
    name="trust",
)


@pytest.mark.parametrize(
    ("action", "changed", "allowed"),
    [
        ("sts:AssumeRole", {}, True),
        ("sts:AssumeRole", {"sts:ExternalId": ["guess"]}, False),
        ("sts:AssumeRole", {"sts:ExternalId": []}, False),
        ("sts:AssumeRole", {"aws:PrincipalOrgID": ["o-2"]}, False),
        ("sts:AssumeRole", {"aws:PrincipalArn": [f"arn:aws:iam::{HUB}:role/other"]}, False),
        ("sts:TagSession", {}, True),
        ("sts:SetSourceIdentity", {}, True),
        ("sts:SetSourceIdentity", {"sts:SourceIdentity": ["someone"]}, False),
    ],
)
def test_a_trust_policy(action: str, changed: dict[str, list[str]], allowed: bool) -> None:
    context = {
        "sts:ExternalId": ["secret"],
        "aws:PrincipalOrgID": ["o-1"],
        "aws:PrincipalArn": [ROLE],
        "sts:SourceIdentity": ["release-churn-3"],
        **changed,
    }
    asked = Request(READER, action, TARGET, OTHER, context)
    may = [policy(allow("sts:*", TARGET))]
    decision = decide(asked, may, TRUST, resource_policy_required=True)
    assert decision.allowed is allowed
    assert not decide(asked, [], TRUST, resource_policy_required=True).allowed


# --- messages --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decision", "ending"),
    [
        (
            Decision(False, (), "identity"),
            "because no identity-based policy allows the s3:GetObject action",
        ),
        (
            Decision(False, (), "session"),
            "because no session policy allows the s3:GetObject action",
        ),
        (
            Decision(False, (), "boundary"),
            "because no permissions boundary allows the s3:GetObject action",
        ),
        (
            Decision(False, (), "resource"),
            "because no resource-based policy allows the s3:GetObject action",
        ),
        (
            Decision(False, (), "identity", explicit=True),
            "with an explicit deny in an identity-based policy",
        ),
        (
            Decision(False, (), "resource", explicit=True),
            "with an explicit deny in a resource-based policy",
        ),
    ],
)
def test_messages_are_those_of_the_documentation(decision: Decision, ending: str) -> None:
    opening = f"User: {SESSION} is not authorized to perform: s3:GetObject on resource: {OBJECT} "
    assert explain(request(), decision) == opening + ending


def test_a_message_names_no_resource_where_the_action_takes_none() -> None:
    message = explain(request("sagemaker:ListEndpoints", "*"), Decision(False, (), "identity"))
    assert " on resource" not in message


def test_a_trust_policy_is_not_told_of() -> None:
    message = explain(request("sts:AssumeRole", TARGET), Decision(False, (), "resource"))
    assert message.endswith(f"sts:AssumeRole on resource: {TARGET}")


# --- properties ------------------------------------------------------------------------------

_ACTIONS = st.sampled_from(["*", "s3:*", "s3:Get*", "s3:GetObject", "s3:PutObject", "sqs:*"])
_RESOURCES = st.sampled_from(["*", OBJECT, "arn:aws:s3:::models/*", "arn:aws:s3:::other/*"])
_PRINCIPALS = st.sampled_from(["*", ACCOUNT_ROOT, {"AWS": ROLE}, {"AWS": SESSION}, {"AWS": OTHER}])
_CONDITIONS = st.sampled_from(
    [
        {},
        {"StringEquals": {REGION: "eu-west-1"}},
        {"StringNotLike": {REGION: "eu-*"}},
        {"Null": {"aws:SourceIdentity": "true"}},
        {"ForAnyValue:StringEquals": {"aws:TagKeys": ["release"]}},
    ]
)


@st.composite
def _policies(draw: st.DrawFn, effect: st.SearchStrategy[str], resource_based: bool) -> Policy:
    def statement() -> dict[str, Any]:
        return {
            "Effect": draw(effect),
            draw(st.sampled_from(["Action", "NotAction"])): draw(_ACTIONS),
            draw(st.sampled_from(["Resource", "NotResource"])): draw(_RESOURCES),
            "Condition": draw(_CONDITIONS),
            **({"Principal": draw(_PRINCIPALS)} if resource_based else {}),
        }

    return policy(*[statement() for _ in range(draw(st.integers(0, 3)))])


_EFFECTS = st.sampled_from(["Allow", "Allow", "Deny"])
_SETS = st.fixed_dictionaries(
    {
        "identity": _policies(_EFFECTS, resource_based=False),
        "resource": _policies(_EFFECTS, resource_based=True),
        "session": st.none() | _policies(_EFFECTS, resource_based=False),
        "boundary": st.none() | _policies(_EFFECTS, resource_based=False),
        "required": st.booleans(),
    }
)
_REQUESTS = st.builds(
    Request,
    st.just(READER),
    st.sampled_from(["s3:GetObject", "s3:PutObject", "sqs:SendMessage"]),
    st.sampled_from([OBJECT, "arn:aws:s3:::other/x"]),
    st.sampled_from([HUB, OTHER]),
    st.fixed_dictionaries(
        {REGION: st.sampled_from([["eu-west-1"], ["us-east-1"]])},
        optional={"aws:TagKeys": st.just(["release"])},
    ),
)


def _decided(asked: Request, policies: dict[str, Any]) -> bool:
    return decide(
        asked,
        [policies["identity"]],
        policies["resource"],
        policies["session"],
        policies["boundary"],
        resource_policy_required=policies["required"],
    ).allowed


@given(
    _REQUESTS,
    _SETS,
    st.sampled_from(["identity", "resource", "session", "boundary"]),
    _policies(st.just("Deny"), resource_based=True),
)
def test_adding_a_deny_never_widens(
    asked: Request, policies: dict[str, Any], where: str, denies: Policy
) -> None:
    if policies[where] is None:  # a first session policy or boundary narrows by being there
        policies[where] = policy(allow("*"))
    widened = {**policies, where: combined("more", [policies[where], denies])}
    assert _decided(asked, widened) <= _decided(asked, policies)


@given(_REQUESTS, _SETS, _policies(st.just("Allow"), resource_based=False))
def test_adding_an_allow_never_narrows(
    asked: Request, policies: dict[str, Any], allows: Policy
) -> None:
    widened = {**policies, "identity": combined("more", [policies["identity"], allows])}
    assert _decided(asked, widened) >= _decided(asked, policies)


@given(_REQUESTS, _SETS)
def test_across_accounts_nothing_is_allowed_that_the_own_account_forbids(
    asked: Request, policies: dict[str, Any]
) -> None:
    across = Request(asked.principal, asked.action, asked.resource, OTHER, asked.context)
    own = Request(asked.principal, asked.action, asked.resource, HUB, asked.context)
    assert _decided(across, policies) <= _decided(own, policies)
