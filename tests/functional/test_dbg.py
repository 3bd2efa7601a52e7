from tests.functional.test_bad_input import *
from tests.functional.conftest import *
def test_a(group, world):
    it = group(QUICK)
    world.expect("sagemaker:CreateModel")
    with it.cloud.deny(TARGET_ROLE, "sagemaker:CreateModel"):
        version = register(it)
        it.decide(version, "Approved")
        it.wait(minutes=20)
    n=len(it.cloud.invocations)
    print(it.cloud.clock.now, it.release(version).held_at, it.release(version).held_until)
    it.command("resume", f"{it.group}/{version}", "--by", "on-call")
    it.wait(seconds=1)
    for e in it.cloud.invocations[n:]: print(e.function, e.at, e.log[-600:])
    for e in it.log(): print(e.at, e.version, e.what, e.why, e.facts)
def test_b(group, world):
    it = group(QUICK)
    it.cloud.simulator.faults.fail_next("CreateModel", throttled(), times=9)
    it.cloud.simulator.faults.fail_next("CreateEndpoint", internal(), times=6)
    version = register(it)
    it.decide(version, "Approved")
    it.wait_until(version, "Live", hours=1)
    for e in it.log(): print(e.at, e.version, e.what, e.why, e.facts)
    for c in world.calls:
        if c.is_the_products and c.operation.startswith("Create"): print(c.at, c.operation, c.error)
def test_c(world, served):
    to_intake(served, _STATE_CHANGE | {"detail": {"ModelPackageGroupName": "\ud800"}})
    served.wait(seconds=6)
    for e in served.cloud.invocations[-2:]: print(e.function, e.at, e.log[-600:])
def test_d(group, world):
    it = group(GATED)
    version = register(it)
    it.decide(version, "Approved")
    it.wait(minutes=1)
    it.cloud.client("s3").put_object(
        Bucket=it.outputs[HUB]["ModelBucketName"],
        Key=f"{it.group}/good/model.tar.gz",
        Body=Model("somebody-elses").artefact,
    )
    it.command("approve", f"{it.group}/{version}", "--stage", "production", "--by", "on-call")
    it.wait(hours=1)
    for e in it.log(): print(e.at, e.version, e.what, e.why, e.facts)
