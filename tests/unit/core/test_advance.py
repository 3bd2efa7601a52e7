"""One release through one stage: forward, and back."""

from datetime import timedelta

import pytest
from msgspec.structs import replace
from sageops.advance import advance
from sageops.evidence import Counts, Minute
from sageops.model import (
    Act,
    Arm,
    BlueGreen,
    CopyArtifact,
    CountHarm,
    CreateConfig,
    CreateEndpoint,
    CreateModel,
    Harmed,
    Live,
    PinArtifact,
    PullImage,
    PutAlarms,
    Record,
    Release,
    Routing,
    SignalStop,
    Smoke,
    StageRun,
    StageStep,
    Step,
    Stop,
    UpdateEndpoint,
    Wait,
)
from sageops.policy import Alarms, AllAtOnce, Approvals, Canary, Checks, Evidence, RealTime
from sageops.watch import alarm_names

from tests.unit.core.world import (
    ON_CALL,
    ONE_STAGE,
    OWNER,
    PRODUCTION,
    STAGES,
    STAGING,
    World,
    stage,
    trouble,
)

SLOWLY = Canary(canary_percent=10, canary_minutes=60, bake_minutes=60)
FORWARD = (PinArtifact, CopyArtifact, CreateModel, CreateConfig, PutAlarms, UpdateEndpoint, Smoke)
SERVICE_FAILURE = "Request to service failed. If failure persists, contact support."


# ---------------------------------------------------------------- forward


def test_the_first_version_creates_the_endpoints() -> None:
    world = World().live(1)

    assert (world.serves("staging"), world.serves("production")) == (1, 1)
    assert world.store.head.live["production"].replaced is None
    assert "UpdateEndpoint" not in world.cloud.effects


def test_a_second_version_goes_through_a_canary_watched_by_its_own_alarms() -> None:
    world = World().live(1).in_canary(2)

    it = world.endpoint()
    config = world.config(2)
    assert (world.serves(), it.pending) == (1, config)
    assert it.guardrail == BlueGreen(
        Routing("CANARY", 10, 15 * 60),
        10 * 60,
        25 * 60 + 3600,
        (f"sageops/{config}/errors", f"sageops/{config}/stop"),
    )

    world.wait(60)

    assert (world.phase(2), world.serves()) == ("Live", 2)
    assert world.phase(1) == "Superseded"
    before = world.store.head.live["production"].replaced
    assert before is not None
    assert (before.version, before.config) == (1, world.config(1))


def test_what_is_served_was_copied_into_the_targets_own_bucket() -> None:
    world = World().live(1)

    release = world.release(1)
    assert release.artifact is not None
    model = world.cloud.models[world.config(1)]
    assert model.artifact_url.startswith("s3://sageops-artifacts-333333333333-eu-west-1/churn/1/")
    assert world.cloud.copies[model.artifact_url] == release.artifact.sha256
    assert model.image == release.detail.image
    assert world.cloud.configs[world.config(1)].serving == STAGES[1].serving


HUBS = "111111111111.dkr.ecr.eu-west-1.amazonaws.com/models"


def copying_images() -> World:
    """Both stages serve from images in their own accounts."""
    return World(*(replace(each, target=replace(each.target, image="copy")) for each in STAGES))


def test_a_stage_may_serve_an_image_of_its_own_account() -> None:
    world = copying_images()
    world.registered(1)
    [arn] = world.cloud.details
    digest = f"sha256:{1:064d}"
    world.cloud.details[arn] = replace(world.cloud.details[arn], image=f"{HUBS}@{digest}")
    world.cloud.seen[1] = replace(world.cloud.seen[1], approval="Approved")
    world.look()
    world.gate_opened(1)

    # ECR takes its time: nothing is made of an image that is not there yet.
    assert (world.step(1, "staging"), world.cloud.models) == ("pulling", {})
    world.wait(60)

    assert world.phase(1) == "Live"
    for account, model in zip((STAGING, PRODUCTION), world.cloud.models.values(), strict=True):
        assert model.image == (f"{account}.dkr.ecr.eu-west-1.amazonaws.com/sageops/models@{digest}")
    assert [each.image for each in world.cloud.registered.values()] == [
        model.image for model in world.cloud.models.values()
    ]
    copied = [each.why for each in world.store.log if each.what == "ImageCopied"]
    assert copied == list(world.cloud.pulled)


def test_an_image_that_cannot_be_copied_is_refused_before_anybody_is_asked() -> None:
    world = copying_images()
    world.approved(1)  # its image is in no registry of ECR
    world.wait(60)

    assert world.phase(1) == "Failed"
    [told] = world.told("Failed")
    assert told.facts["reason"] == "ImageElsewhere"
    assert "only an image of the hub's own registry" in told.why
    assert "say `image: origin`" in told.why
    assert not world.cloud.copies


def test_an_image_that_is_not_what_was_approved_holds_the_release() -> None:
    world = copying_images()
    world.registered(1)
    [arn] = world.cloud.details
    image = f"{HUBS}@sha256:{1:064d}"
    world.cloud.details[arn] = replace(world.cloud.details[arn], image=image)
    world.cloud.seen[1] = replace(world.cloud.seen[1], approval="Approved")
    world.cloud.troubles[PullImage] = trouble("missing", "ecr:BatchGetImage")
    world.wait(60)

    assert (world.phase(1), world.step(1, "staging")) == ("Paused", "pulling")
    assert not world.cloud.models

    world.cloud.troubles.clear()
    world.gate_opened(1)
    world.wait(60)

    assert world.phase(1) == "Live"


def test_the_approver_of_the_gate_goes_with_every_call_to_the_target() -> None:
    world = World()
    world.approved(1)
    world.look()
    world.gate_opened(1, by=ON_CALL)
    world.wait(60)

    errand = world.cloud.models[world.config(1)].errand
    assert (errand.release, errand.approved_by) == ("churn/1", ON_CALL)


def test_a_manual_gate_asks_a_person_once_and_waits() -> None:
    world = World()
    world.approved(1)

    world.wait(60)
    world.wait(24 * 60)

    assert (world.phase(1), world.step(1)) == ("AwaitingApproval", "gate")
    [asked] = world.told("GateWaiting")
    assert (asked.severity, asked.stage) == ("action", "production")

    world.gate_opened(1, by=OWNER)
    world.wait(60)

    [opened] = world.told("GateApproved")
    assert opened.by == OWNER
    assert world.phase(1) == "Live"


def ruled(**rules: bool) -> World:
    """A world whose policy says who may approve what."""
    world = World()
    world.store.policies[1] = replace(world.store.policies[1], approval=Approvals(**rules))
    return world


def test_two_people_where_the_policy_wants_two() -> None:
    world = ruled(different_people=True)
    world.approved(1, by=OWNER)
    world.look()
    world.wait(60)
    world.gate_opened(1, by=OWNER)
    world.wait(60)
    world.wait(24 * 60)

    assert world.step(1) == "gate"
    _, again = world.told("GateWaiting")
    assert f"{OWNER} did, but the policy wants somebody else than {OWNER}" in again.why

    world.gate_opened(1, by=ON_CALL)
    world.wait(60)

    assert world.phase(1) == "Live"


def test_an_approver_whom_nobody_knows_is_not_taken_for_somebody_else() -> None:
    world = ruled(different_people=True)
    world.approved(1, by="unknown")
    world.look()
    world.gate_opened(1, by=ON_CALL)
    world.wait(60)

    assert world.step(1) == "gate"
    told = world.told("GateWaiting")[-1].why
    assert f"{ON_CALL} did, but nobody can say who approved the package" in told
    assert "reject the package, and approve it again." in told


@pytest.mark.parametrize(("registrar", "phase"), [(OWNER, "Failed"), (ON_CALL, "AwaitingApproval")])
def test_who_registered_does_not_approve_where_the_policy_says_so(
    registrar: str, phase: str
) -> None:
    world = ruled(not_the_registrar=True)
    world.approved(1, by=OWNER)
    arn = world.cloud.seen[1].arn
    world.cloud.details[arn] = replace(world.cloud.details[arn], registered_by=registrar)
    world.wait(60)
    world.wait(24 * 60)

    assert world.phase(1) == phase
    if phase == "Failed":
        [told] = world.told("Failed")
        assert f"{OWNER} registered the package and approved it" in told.why
        assert world.cloud.copies == {}


def test_whoever_approved_is_not_taken_for_somebody_else_than_the_registrar() -> None:
    world = ruled(not_the_registrar=True)
    world.approved(1, by="unknown")
    arn = world.cloud.seen[1].arn
    world.cloud.details[arn] = replace(world.cloud.details[arn], registered_by=ON_CALL)
    world.wait(60)

    [told] = world.told("Failed")
    assert told.why.startswith("Nobody can say who approved the package")
    assert ON_CALL in told.why
    assert world.cloud.copies == {}


def test_the_approval_of_another_stage_opens_no_gate() -> None:
    world = World()
    world.approved(1)
    world.look()
    world.gate_opened(1, stage="staging")

    world.wait(60)

    assert world.step(1) == "gate"


def test_it_bakes_for_as_long_as_the_policy_says() -> None:
    world = World(*ONE_STAGE)
    world.in_bake(1)
    world.wait(8)
    assert world.phase(1) == "Progressing"

    world.wait(3)

    assert world.phase(1) == "Live"


def test_without_a_bake_it_is_live_as_soon_as_it_was_checked() -> None:
    world = World(stage("production", PRODUCTION))
    world.approved(1)

    world.wait(6)

    assert world.phase(1) == "Live"


def test_while_it_bakes_it_is_looked_at_every_five_minutes() -> None:
    world = World(*ONE_STAGE).in_bake(1)

    step = plan_of(world)

    assert isinstance(step, Wait)
    assert step.until == world.now + timedelta(minutes=5)


def test_the_last_look_of_a_bake_is_at_its_end() -> None:
    world = World(*ONE_STAGE).in_bake(1)
    since = world.release(1).runs[0].since
    assert since is not None
    end = since + timedelta(minutes=10)

    step = advance(replace(world.view(), now=end - timedelta(seconds=20)), world.release(1))

    assert isinstance(step, Wait)
    assert step.until == end


def plan_of(world: World) -> Step:
    return advance(world.view(), world.release(1))


def test_a_bake_that_was_never_begun_begins_now() -> None:
    world = World(*ONE_STAGE).in_bake(1)
    release = world.release(1)
    undated = release.with_run(replace(release.runs[0], since=None))

    assert isinstance(advance(world.view(), undated), Wait)


def test_the_policys_own_alarms_are_watched_beside_ours() -> None:
    watched = replace(
        STAGES[1], checks=Checks(alarms=Alarms(latency_ms=250, names=("checkout-errors",)))
    )
    world = World(STAGES[0], watched).live(1).in_canary(2)

    names = alarm_names(world.config(2), watched)
    assert names == (
        f"sageops/{world.config(2)}/errors",
        f"sageops/{world.config(2)}/latency",
        f"sageops/{world.config(2)}/stop",
        "checkout-errors",
    )
    guardrail = world.endpoint().guardrail
    assert guardrail is not None
    assert guardrail.alarms == names
    assert set(names[:3]) <= set(world.cloud.alarm_states)

    world.cloud.fire("checkout-errors")
    world.wait(60)

    assert (world.phase(2), world.serves()) == ("RolledBack", 1)


# ---------------------------------------------------------------- an endpoint that is not ready


def test_an_endpoint_that_moves_is_waited_for() -> None:
    world = World().live(1)
    it = world.endpoint("staging")
    it.status, it.pending = "Updating", world.config(1, "staging")
    it.settles_at = world.now + timedelta(minutes=30)
    world.approved(2)

    world.wait(20)
    assert world.step(2, "staging") == "deploying"

    world.wait(60)
    assert world.serves("staging") == 2


def test_an_endpoint_out_of_service_blocks_the_release_until_it_is_back() -> None:
    world = World().live(1)
    it = world.endpoint("staging")
    it.status, it.failure_reason = "UpdateRollbackFailed", "No capacity."
    world.approved(2)

    world.wait(1)

    assert world.condition(2, "Blocked") == (True, "NotFound")
    assert "churn-staging is UpdateRollbackFailed: No capacity." in world.reason(2)


def test_a_failed_endpoint_that_we_did_not_make_blocks_the_release() -> None:
    world = World(*ONE_STAGE)
    world.by_hand("by-hand")
    world.endpoint().status = "Failed"
    world.approved(1)

    world.wait(30)

    assert world.condition(1, "Blocked")[0]
    assert "churn-production is Failed" in world.reason(1)


@pytest.mark.parametrize("step", ["deploying", "baking", "stopping"])
def test_an_endpoint_that_may_not_be_seen_blocks_the_release(step: str) -> None:
    world = World(*ONE_STAGE).live(1)
    if step == "deploying":
        world.approved(2)
    else:
        world.in_bake(2)
    if step == "stopping":
        world.aborted(2)
    world.cloud.unseen["churn-production"] = trouble("denied", "sagemaker:DescribeEndpoint")

    world.wait(10)

    assert world.step(2) == step
    assert world.condition(2, "Blocked") == (True, "AccessDenied")
    assert "sagemaker:DescribeEndpoint in account 222222222222" in world.reason(2)

    world.cloud.unseen.clear()
    world.wait(60)

    assert world.phase(2) == ("Aborted" if step == "stopping" else "Live")


@pytest.mark.parametrize("kind", ["denied", "transient"])
@pytest.mark.parametrize("step", ["deploying", "baking"])
def test_what_blocked_a_rollout_is_no_longer_shown_once_it_has_passed(step: str, kind: str) -> None:
    world = World(replace(STAGES[1], rollout=SLOWLY, checks=Checks(bake_minutes=180)))
    world.approved(1)
    world.look()
    world.gate_opened(1)
    world.wait(240)
    if step == "deploying":
        world.in_canary(2)
    else:
        world.in_bake(2)
    world.cloud.unseen["churn-production"] = trouble(kind, "sagemaker:DescribeEndpoint")
    world.wait(45 if kind == "transient" else 2)
    assert (world.phase(2), world.condition(2, "Blocked")[0]) == ("Paused", True)

    world.cloud.unseen.clear()
    world.wait(16)

    assert world.step(2) == step, "it is still at it"
    assert (world.phase(2), world.condition(2, "Blocked")[0]) == ("Progressing", False)
    assert len(world.logged("Unblocked")) == 1
    assert len(world.told("Blocked")) == 1


def test_what_was_missing_before_a_gate_is_no_longer_shown_once_it_is_there() -> None:
    world = World().live(1)
    world.approved(2)
    world.wait(60)
    assert world.step(2) == "gate"
    world.cloud.foreign_variant = "AllTraffic"
    world.wait(20)
    assert world.condition(2, "Blocked") == (True, "NotFound")

    world.cloud.foreign_variant = ""
    world.wait(20)

    assert world.condition(2, "Blocked")[0] is False
    assert world.phase(2) == "AwaitingApproval"


# ---------------------------------------------------------------- the silent rollback


def test_a_silent_rollback_is_noticed_and_the_harm_counted() -> None:
    world = World().live(1).in_canary(2)

    world.fires(2, "production")
    world.wait(30)

    assert (world.phase(2), world.serves()) == ("RolledBack", 1)
    assert f"alarm sageops/{world.config(2)}/errors fired" in world.reason(2)
    assert "30 of the 1000 requests it answered were harmed." in world.reason(2)
    [told] = world.told("RolledBack")
    assert told.severity == "alert"
    assert told.facts == {"reason": "AlarmFired", "harmed": "30", "requests": "1000"}
    assert world.store.head.live["production"].version == 1
    assert world.phase(1) == "Live"


def test_the_harm_is_counted_from_when_the_update_was_asked_for() -> None:
    world = World().live(1).in_canary(2)
    asked_at = world.release(2).run("production").asked_at
    world.fires(2, "production")

    world.wait(30)

    stopped = world.release(2).run("production").stop
    assert stopped is not None
    assert stopped.harm_since == asked_at


def test_a_configuration_that_failed_is_not_tried_again() -> None:
    world = World().live(1)
    world.cloud.update_failures = ["", "The container did not answer its health check."]
    world.in_canary(2)

    world.wait(24 * 60)

    assert (world.phase(2), world.serves()) == ("RolledBack", 1)
    assert "the update failed" in world.reason(2)
    assert "The container did not answer its health check." in world.reason(2)
    [told] = world.told("RolledBack")
    assert told.facts["reason"] == "UpdateFailed"
    assert world.cloud.effects["UpdateEndpoint"] == 2  # staging's and this one


def test_a_rollback_that_sagemaker_gives_no_reason_for_is_one_too() -> None:
    world = World(*ONE_STAGE).live(1).in_canary(2)

    it = world.endpoint()
    it.status, it.pending, it.modified_at = "InService", "", world.now
    world.wait(10)

    assert world.phase(2) == "RolledBack"
    assert world.reason(2).startswith("SageMaker rolled production back: the update failed. 30")


def test_a_failure_of_the_service_is_tried_again() -> None:
    world = World().live(1)
    world.cloud.update_failures = ["", SERVICE_FAILURE, SERVICE_FAILURE]
    world.in_canary(2)

    world.wait(180)

    assert (world.phase(2), world.serves()) == ("Live", 2)


def test_a_service_that_keeps_failing_is_tried_more_rarely_and_told() -> None:
    world = World(*ONE_STAGE).live(1)
    world.cloud.update_failures = [SERVICE_FAILURE] * 6
    world.approved(2)

    world.wait(240)

    assert (world.phase(2), world.serves()) == ("Live", 2)
    assert SERVICE_FAILURE in world.told("Blocked")[0].why


def test_an_endpoint_that_serves_it_already_only_needs_its_checks() -> None:
    world = World(*ONE_STAGE).live(1)
    world.approved(2)
    world.cloud.afterwards[PutAlarms] = lambda: setattr(
        world.endpoint(), "config", next(n for n in world.cloud.configs if "-v2-" in n)
    )

    world.wait(60)

    assert world.phase(2) == "Live"
    assert "UpdateEndpoint" not in world.cloud.effects


# ---------------------------------------------------------------- creations that fail


def test_a_first_creation_that_fails_leaves_nothing_and_the_next_version_creates_again() -> None:
    world = World(*ONE_STAGE)
    world.cloud.creation_failure = "Unable to pull the image."
    world.approved(1)

    world.wait(60)

    assert world.phase(1) == "Failed"
    assert "The endpoint could not be created: Unable to pull the image." in world.reason(1)
    assert world.serves() is None

    world.cloud.creation_failure = ""
    world.live(2)
    assert world.serves() == 2


def test_a_creation_that_failed_without_a_reason_is_told_all_the_same() -> None:
    world = World(*ONE_STAGE)
    world.approved(1)
    world.wait(1)
    world.endpoint().status = "Failed"

    world.wait(30)

    assert "could not be created: Failed" in world.reason(1)


# ---------------------------------------------------------------- checks and bake


def test_a_failed_smoke_test_goes_back_to_what_was_served() -> None:
    world = World(*ONE_STAGE).live(1)
    world.cloud.smoke_problem = "Smoke request 1 of 1: the model answered 500."
    world.approved(2)

    world.wait(60)

    assert (world.phase(2), world.serves()) == ("RolledBack", 1)
    assert world.reason(2).startswith("Smoke request 1 of 1: the model answered 500.")
    [told] = world.told("TakingBack")
    assert "production is being taken back." in told.why


def test_a_failed_smoke_test_in_staging_never_reaches_production() -> None:
    world = World().live(1)
    world.cloud.smoke_problem = "Smoke request 1 of 1: the model answered 500."
    world.approved(2)
    world.look()
    world.gate_opened(2)

    world.wait(120)

    assert world.phase(2) == "RolledBack"
    assert (world.serves("staging"), world.serves("production")) == (1, 1)
    assert world.step(2, "production") == "waiting"


def test_a_first_version_that_fails_its_smoke_test_has_nothing_to_go_back_to() -> None:
    world = World(*ONE_STAGE)
    world.cloud.smoke_problem = "Smoke request 1 of 1: the model answered 500."
    world.approved(1)

    world.wait(60)

    assert world.phase(1) == "RolledBack"
    assert world.store.head.live == {}


def test_going_back_is_at_once_and_watched_by_nothing() -> None:
    world = World(*ONE_STAGE).live(1).in_bake(2)
    world.fires(2, "production")

    world.look()

    it = world.endpoint()
    assert it.pending == world.config(1)
    assert it.guardrail == BlueGreen(Routing("ALL_AT_ONCE"), 0, 3600, ())


def test_an_alarm_in_the_bake_goes_back() -> None:
    world = World(*ONE_STAGE).live(1).in_bake(2)

    world.fires(2, "production")
    world.wait(30)

    assert (world.phase(2), world.serves()) == ("RolledBack", 1)
    assert "fired while it baked: 3 % of requests failed." in world.reason(2)
    assert len(world.told("TakingBack")) == 1


def test_an_endpoint_changed_by_hand_while_it_bakes_is_left_as_it_is() -> None:
    world = World(*ONE_STAGE).live(1).in_bake(2)

    world.by_hand("by-hand")
    world.wait(30)

    assert world.phase(2) == "Failed"
    assert "changed behind our back: it serves by-hand and is InService" in world.reason(2)
    assert world.endpoint().config == "by-hand"


def test_an_endpoint_that_vanishes_while_it_bakes_ends_the_release() -> None:
    world = World(*ONE_STAGE).in_bake(1)

    del world.cloud.endpoints["churn-production"]
    world.wait(30)

    assert world.phase(1) == "Failed"
    assert "the endpoint is gone" in world.reason(1)


def test_an_endpoint_on_its_way_elsewhere_while_it_bakes_is_waited_for() -> None:
    world = World(*ONE_STAGE).live(1).in_bake(2)
    it = world.endpoint()
    it.config, it.status = world.config(1), "Updating"
    it.pending, it.settles_at = world.config(2), world.now + timedelta(minutes=3)
    it.guardrail = None

    world.wait(30)

    assert (world.phase(2), world.serves()) == ("Live", 2)


def test_nothing_goes_live_on_an_endpoint_that_somebody_is_updating() -> None:
    world = World(*ONE_STAGE).live(1).in_bake(2)
    it = world.endpoint()
    it.status, it.pending = "Updating", "by-hand"
    it.settles_at = world.now + timedelta(minutes=20)
    it.guardrail = None

    world.wait(60)

    assert world.endpoint().config == "by-hand"
    assert world.phase(2) == "Failed"


# ---------------------------------------------------------------- people


@pytest.mark.parametrize(
    ("where", "action"),
    # An artefact is pinned once, in the first stage.
    [("staging", action) for action in FORWARD] + [("production", each) for each in FORWARD[1:]],
)
def test_an_abort_in_any_step_ends_on_the_last_good_version(where: str, action: type) -> None:
    world = World().live(1)
    world.approved(2)
    if where == "production":
        world.wait(60)
        world.gate_opened(2)
    world.cloud.afterwards[action] = lambda: world.aborted(2)

    world.wait(120)

    assert world.phase(2) == "Aborted"
    assert world.serves(where) == 1
    assert world.serves("production") == 1
    assert world.phase(1) == "Live"
    assert len(world.told("Aborted", version=2)) >= 1


@pytest.mark.parametrize("action", [CreateModel, CreateEndpoint, Smoke])
def test_an_abort_of_a_first_version_leaves_no_endpoint(action: type) -> None:
    world = World(*ONE_STAGE)
    world.approved(1)
    world.cloud.afterwards[action] = lambda: world.aborted(1)

    world.wait(60)

    assert world.phase(1) == "Aborted"
    assert world.serves() is None


def test_a_rejection_in_the_canary_makes_sagemaker_go_back() -> None:
    world = World().live(1).in_canary(2)

    world.rejected(2, by=ON_CALL)
    world.wait(60)

    assert world.phase(2) == "Rejected"
    assert world.serves() == 1
    assert "30 of the 1000 requests it answered were harmed." in world.reason(2)


def test_the_signal_to_go_back_is_repeated_until_it_is_seen() -> None:
    world = World().live(1).in_canary(2)
    world.rejected(2)
    world.cloud.afterwards[SignalStop] = lambda: world.cloud.quieten(
        world.alarm(2, "production", "stop")
    )

    world.wait(1)
    assert world.endpoint().status == "Updating"
    world.wait(30)

    assert (world.phase(2), world.serves()) == ("Rejected", 1)
    assert world.cloud.effects["SignalStop"] == 2


def test_pausing_a_rollout_lets_it_go_on_but_not_live() -> None:
    world = World(*ONE_STAGE).live(1).in_canary(2)

    world.paused(2)
    world.wait(120)
    assert (world.phase(2), world.step(2), world.serves()) == ("Paused", "baking", 2)

    world.resumed(2)
    world.wait(5)
    assert world.phase(2) == "Live"


def test_a_paused_rollout_is_still_watched() -> None:
    world = World().live(1).in_canary(2)

    world.paused(2)
    world.fires(2, "production")
    world.wait(60)

    assert (world.phase(2), world.serves()) == ("RolledBack", 1)


# ---------------------------------------------------------------- back


def test_going_back_waits_for_an_endpoint_that_moves() -> None:
    world = World(*ONE_STAGE)
    world.approved(1)
    world.wait(1)
    assert world.endpoint().status == "Creating"

    world.aborted(1)
    world.wait(2)
    assert (world.phase(1), world.endpoint().status) == ("Progressing", "Creating")

    world.wait(30)
    assert (world.phase(1), world.serves()) == ("Aborted", None)


def test_a_first_version_that_fails_while_it_is_aborted_is_deleted_too() -> None:
    world = World(*ONE_STAGE)
    world.cloud.creation_failure = "No capacity."
    world.approved(1)
    world.wait(1)

    world.aborted(1)
    world.wait(30)

    assert (world.phase(1), world.serves()) == ("Aborted", None)


def test_an_endpoint_that_an_update_broke_comes_back_on_the_last_good_configuration() -> None:
    world = World(*ONE_STAGE).live(1).in_canary(2)
    it = world.endpoint()
    it.status, it.pending, it.failure_reason = "Failed", "", "No capacity."

    world.wait(60)

    assert world.phase(2) == "Failed"
    assert world.serves() == 1


def test_a_way_back_that_keeps_failing_is_told() -> None:
    world = World(*ONE_STAGE).live(1).in_bake(2)
    world.cloud.update_failures = ["The instances are not available."] * 50
    world.fires(2, "production")

    world.wait(60)

    assert world.serves() == 2
    assert world.told("Blocked", version=2)


def test_going_back_to_what_somebody_else_made() -> None:
    world = World(*ONE_STAGE)
    world.by_hand("by-hand")
    world.in_bake(1)

    world.fires(1, "production")
    world.wait(30)

    assert world.phase(1) == "RolledBack"
    assert world.endpoint().config == "by-hand"


def test_a_harm_that_was_never_dated_is_counted_from_the_admission() -> None:
    world = World(*ONE_STAGE).live(1).in_bake(2)
    world.rejected(2)
    release = world.release(2)
    undated = release.with_run(replace(release.runs[0], asked_at=None))
    world.store.releases[2] = undated

    world.wait(30)

    assert world.phase(2) == "Rejected"
    assert "30 of the 1000" in world.reason(2)


def test_no_harm_is_said_as_well() -> None:
    world = World().live(1)
    world.cloud.harmed = Harmed(0, 0)
    world.in_canary(2)
    world.aborted(2)

    world.wait(60)

    assert world.reason(2) == f"{ON_CALL} aborted it. No user got an answer of it."


def test_what_went_live_goes_back_to_what_it_replaced() -> None:
    """`run.replaced` is what was there when the update was asked for; `live` knows better."""
    world = World(*ONE_STAGE).live(1, 2)
    live = world.store.head.live["production"]
    world.store.head = replace(
        world.store.head,
        open=(2,),
        live={"production": replace(live, replaced=Live(0, "older", world.now))},
    )
    release = stopping(world, 2)

    step = advance(world.view(), release)

    assert isinstance(step, Act)
    assert isinstance(step.action, UpdateEndpoint)
    assert step.action.config == "older"


def test_what_went_live_first_has_nothing_to_go_back_to() -> None:
    world = World(*ONE_STAGE).live(1)
    world.store.head = replace(world.store.head, open=(1,))
    release = stopping(world, 1)

    step = advance(world.view(), release)

    assert isinstance(step, Record)
    assert [each.what for each in step.log] == ["NothingToGoBackTo"]


def stopping(world: World, version: int) -> Release:
    release = world.release(version)
    why = Stop("Aborted", "Aborted", "They changed their mind.")
    back = release.with_run(replace(release.runs[0], step="stopping", stop=why))
    world.store.releases[version] = back
    return back


@pytest.mark.parametrize("step", ["live", "stopped"])
def test_a_release_with_nothing_left_to_do_is_not_advanced(step: StageStep) -> None:
    world = World(*ONE_STAGE).live(1)
    release = world.release(1)
    done = release.with_run(replace(release.runs[0], step=step))

    with pytest.raises(AssertionError, match="nothing to advance"):
        advance(world.view(), done)


def test_a_release_goes_back_for_a_reason() -> None:
    world = World(*ONE_STAGE).live(1)
    release = replace(world.release(1), runs=(StageRun("production", "stopping"),))

    with pytest.raises(AssertionError, match="for no reason"):
        advance(world.view(), release)


# ---------------------------------------------------------------- held


def test_nothing_is_tried_before_the_hold_is_over() -> None:
    world = World(*ONE_STAGE)
    world.cloud.troubles[CopyArtifact] = trouble("transient")
    world.approved(1)
    world.look()
    held = world.release(1).held_until

    assert held is not None
    assert isinstance(plan_of(world), Wait)
    later = advance(replace(world.view(), now=held), world.release(1))
    assert isinstance(getattr(later, "action", None), CopyArtifact)


def test_a_word_from_before_the_hold_does_not_end_it() -> None:
    world = World(*ONE_STAGE)
    world.approved(1)
    world.resumed(1)
    world.now += timedelta(minutes=5)
    world.cloud.troubles[CopyArtifact] = trouble("transient")
    world.look()

    assert isinstance(plan_of(world), Wait)


def test_a_word_ends_the_hold_at_once() -> None:
    world = World(*ONE_STAGE)
    world.cloud.troubles[CopyArtifact] = trouble("transient")
    world.approved(1)
    world.wait(10)
    assert isinstance(plan_of(world), Wait)
    world.cloud.troubles.clear()

    world.resumed(1)
    world.look()

    assert world.step(1) == "deploying"


def test_the_strategy_of_the_policy_moves_the_traffic() -> None:
    slow = replace(ONE_STAGE[0], rollout=AllAtOnce(bake_minutes=20))
    world = World(slow).live(1).in_canary(2)

    guardrail = world.endpoint().guardrail

    assert isinstance(guardrail, BlueGreen)
    assert guardrail.routing == Routing("ALL_AT_ONCE", 100, 0)
    assert guardrail.termination_wait_seconds == 1200


def test_the_harm_is_counted_on_the_configuration_that_did_it() -> None:
    world = World(*ONE_STAGE).live(1).in_bake(2)
    world.cloud.troubles[CountHarm] = trouble("transient", "cloudwatch:GetMetricData")
    world.fires(2, "production")
    world.wait(15)
    release = world.release(2)
    assert release.runs[0].step == "counting"

    step = advance(world.view(), replace(release, held_until=None))

    assert isinstance(step, Act)
    assert isinstance(step.action, CountHarm)
    arms = (Arm(world.config(2), "main"),)
    assert (step.action.arms, step.action.since) == (arms, release.runs[0].asked_at)


# ---------------------------------------------------------------- evidence

JUDGED = (
    stage(
        "production",
        PRODUCTION,
        rollout=Canary(10, 30, 10),
        serving=RealTime("ml.m5.large", 10),
        checks=Checks(evidence=Evidence()),
    ),
)
GOOD = Minute(Counts(900, 1), Counts(100, 0))
BAD = Minute(Counts(900, 1), Counts(100, 5))


def test_a_canary_that_is_worse_goes_back_though_no_alarm_fires() -> None:
    world = World(*JUDGED).live(1)
    world.cloud.rates = BAD

    world.approved(2)
    world.wait(30)

    assert (world.phase(2), world.serves()) == ("RolledBack", 1)
    [told] = world.told("TakingBack")
    assert told.facts["reason"] == "Regressed"


def test_a_canary_that_is_no_worse_is_not_held_up() -> None:
    world = World(*JUDGED).live(1)
    world.cloud.rates = GOOD

    world.approved(2)
    world.wait(120)

    assert (world.phase(2), world.serves()) == ("Live", 2)


def test_no_traffic_is_no_evidence_and_says_so() -> None:
    world = World(*JUDGED).live(1)
    world.approved(2)
    world.wait(6)

    why = world.look()

    assert "no invocations in" in why
    assert world.phase(2) == "Progressing"


def test_without_evidence_nothing_is_compared() -> None:
    world = World(*ONE_STAGE).live(1)
    world.cloud.rates = BAD

    world.approved(2)
    world.wait(120)

    assert world.phase(2) == "Live"
