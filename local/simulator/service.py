"""The simulator as a whole: SageMaker of every account and Region, and its direct front door."""

from local.clock import Clock
from local.simulator import endpoints, models, pipelines, registry, validation
from local.simulator.faults import Faults, attach, not_simulated
from local.simulator.site import Containers, Document, Operation, Outside, Site, copied
from local.simulator.traffic import Inference, invoke

__all__ = ["Simulator"]

_OPERATIONS: dict[str, Operation] = (
    models.OPERATIONS | endpoints.OPERATIONS | registry.OPERATIONS | pipelines.OPERATIONS
)

# What other accounts may read of a group that its policy shares, and the parameter that names it.
_SHARED = {
    "DescribeModelPackageGroup": "ModelPackageGroupName",
    "DescribeModelPackage": "ModelPackageName",
    "ListModelPackages": "ModelPackageGroupName",
}


class Simulator:
    """SageMaker on a virtual clock.

    `faults` makes it fail on demand; `operations` is what it can do, by API name.
    """

    def __init__(self, clock: Clock, outside: Outside, containers: Containers) -> None:
        self.faults = Faults()
        self.operations = dict(_OPERATIONS)
        self._clock = clock
        self._outside = outside
        self._containers = containers
        self._sites: dict[tuple[str, str], Site] = {}

    def site(self, account: str, region: str) -> Site:
        """SageMaker of one account in one Region."""
        where = (account, region)
        if where not in self._sites:
            site = Site(account, region, self._clock, self._outside, self._containers)
            attach(site, self.faults)
            self._sites[where] = site
        return self._sites[where]

    def call(
        self, account: str, region: str, operation: str, parameters: Document, caller: str = ""
    ) -> Document:
        """One API call: names, parameters and answer as in the SageMaker API.

        Moments are aware datetimes in both directions. `caller` is the ARN of who calls. The
        parameters are checked against the service model first; then whatever `faults` holds for
        the operation happens; then the operation. Raises `ServiceError`; `NotImplemented` (501)
        for an operation that exists and is not simulated.
        """
        validation.validate(operation, parameters)
        if operation not in self.operations:
            raise not_simulated(operation)
        self.faults.before(account, operation)
        # Nothing that a caller holds may change with the simulator's state, or the other way.
        given = {**copied(parameters), "@caller": caller}
        site = self._owner(account, region, operation, parameters)
        answer = copied(self.operations[operation](site, given))
        self.faults.after(account, operation)
        return answer

    def group_policy(self, arn: str) -> str | None:
        """The resource policy of a model package group; None without one."""
        *_, region, account, name = arn.split(":")
        return registry.policy_of(self.site(account, region), name.partition("/")[2])

    def _owner(self, account: str, region: str, operation: str, parameters: Document) -> Site:
        """Whose registry is read: that of an ARN, where its group is shared by a policy. Who may
        read it is not asked here."""
        arn = str(parameters.get(_SHARED.get(operation, ""), ""))
        if arn.startswith("arn:"):
            *start, kind_and_name = arn.split(":", 5)
            group = kind_and_name.split("/")[1]
            shared = f"{':'.join(start)}:model-package-group/{group}"
            if self.group_policy(shared) is not None:
                return self.site(start[4], region)
        return self.site(account, region)

    def invoke(  # noqa: PLR0913 - the request's own parts
        self,
        account: str,
        region: str,
        endpoint: str,
        body: bytes,
        content_type: str = "application/json",
        accept: str = "*/*",
        variant: str | None = None,
    ) -> Inference:
        """One InvokeEndpoint request, as `local.simulator.traffic.invoke`, `faults` included."""
        self.faults.before(account, "InvokeEndpoint")
        site = self.site(account, region)
        inference = invoke(site, endpoint, body, content_type, accept, variant)
        self.faults.after(account, "InvokeEndpoint")
        return inference
