"""`make demo`: the main job from a night's training to a rollback, told as it happens.

The demo plays only the world outside: time, a data scientist, people who approve, customers. All
that happens between them is the product: the real templates, functions, roles and rules.
"""

import base64
import json
import sys
import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from local.company import GROUP, PRODUCTION, STAGING, Company, Customers, company
from pipelines.data import Request, requests
from pipelines.inference import CONCAVITY

__all__ = ["main"]

_COLOURS = {"record": "dim", "info": "green", "action": "yellow", "alert": "bold red"}


@dataclass
class Teller:
    """Prints what happened since it last looked: the log of the group, and people's mail."""

    it: Company
    console: Console
    told: int = 0
    read: int = 0
    checks: list[tuple[str, bool]] = field(default_factory=list)

    def chapter(self, title: str) -> None:
        """Begin the next part of the story."""
        self.console.print()
        self.console.rule(Text(title), align="left")

    def outside(self, what: str) -> None:
        """Something that the world outside does, after all that was told before it."""
        self.catch_up()
        self.console.print(Text(f"{self.it.cloud.clock.now:%a %H:%M}  » {what}", style="bold cyan"))

    def catch_up(self) -> None:
        """Print what the group's log says since the last time."""
        grid = Table.grid(padding=(0, 2))
        for _ in range(4):
            grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        log = self.it.log()
        if len(log) == self.told:
            return
        for entry in log[self.told :]:
            name = entry.group if entry.version is None else f"{entry.group}/{entry.version}"
            cells = (f"{entry.at:%a %H:%M}", name, entry.stage or "", entry.what, entry.why)
            grid.add_row(*(Text(cell) for cell in cells), style=_COLOURS[entry.severity])
        self.told = len(log)
        self.console.print(grid)

    def mail(self, subject_has: str) -> None:
        """Show the newest message with these words in its subject."""
        found = [m for m in self.it.cloud.inbox if subject_has in (m.subject or "")]
        newest = found[-1]
        body = Text(newest.body.strip())
        self.console.print(Panel(body, title=Text(f"✉ {newest.subject}"), title_align="left"))

    def check(self, what: str, holds: bool) -> None:
        """Hold the world against what it should be."""
        self.checks.append((what, holds))


def main() -> int:
    """Play it; 0 when the simulator itself shows the end state that it should."""
    began = time.perf_counter()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(Text("SageOps: three AWS accounts in one process, on a virtual clock.", "bold"))
    with company() as it:
        teller = Teller(it, console)
        _first_night(it, teller)
        _first_version(it, teller)
        _better_version(it, teller)
        _bad_version(it, teller)
        _bad_by_daylight(it, teller)
        _end_state(it, teller)
        passed = _verdict(it, teller)
    console.print(f"{time.perf_counter() - began:.0f} s of real time.")
    return 0 if passed else 1


def _first_night(it: Company, teller: Teller) -> None:
    teller.chapter("1. At night the schedule starts the training, and a version is registered")
    it.wait_until(1, "AwaitingApproval")
    teller.catch_up()
    teller.mail("churn/1 is waiting for approval")


def _first_version(it: Company, teller: Teller) -> None:
    teller.chapter("2. Approved, it goes to staging, and asks before it goes to production")
    _through_staging(it, teller, 1)
    teller.mail("churn/1 needs an approval")
    _into_production(it, teller, 1)
    it.wait_until(1, "Live")
    teller.catch_up()
    row = next(iter(requests()))
    answer = it.invoke("production", row.body, row.content_type).decode()
    teller.outside(f"a customer asks production about a tumour and is answered {answer}")


def _better_version(it: Company, teller: Teller) -> None:
    teller.chapter("3. A better version: a canary of one instance in ten, then all of them")
    teller.outside("the data scientist trains a logistic regression instead of a small tree")
    it.train(Estimator="logistic")
    it.wait_until(2, "AwaitingApproval")
    _through_staging(it, teller, 2)
    customers = it.customers("production", per_minute=40)
    _into_production(it, teller, 2)
    it.wait_until(2, "Live")
    _stop(customers, teller)
    teller.catch_up()
    teller.mail("churn/2 is live in production")
    teller.check(
        "every customer was answered while version 2 replaced version 1", not customers.failed
    )


def _bad_version(it: Company, teller: Teller) -> None:
    teller.chapter("4. A version that evaluates well, passes its smoke tests, and is bad")
    teller.outside("the data scientist takes the logarithm of the concavity, which can be 0")
    it.train(Estimator="logistic", LogFeatures="yes")
    it.wait_until(3, "AwaitingApproval")
    _through_staging(it, teller, 3)
    customers = it.customers("production", per_minute=240)
    _into_production(it, teller, 3)
    it.wait_until(3, "RolledBack")
    _stop(customers, teller)
    teller.catch_up()
    teller.mail("churn/3 was rolled back")
    teller.check("version 3 came back by itself, in its canary", it.serves("production") == 2)
    teller.check("few were harmed, and every one was counted", _harmed(it, 3) == customers.failed)


def _bad_by_daylight(it: Company, teller: Teller) -> None:
    teller.chapter("5. The same model at night, when nobody asks what it cannot answer")
    teller.outside("the data scientist does not believe it, and registers the same model again")
    it.register_again(3)
    it.wait_until(4, "AwaitingApproval")
    _through_staging(it, teller, 4)
    night = it.customers("production", per_minute=20, rows=_without_zeros())
    _into_production(it, teller, 4)
    it.wait_until(4, "Live")
    _stop(night, teller)
    teller.catch_up()
    teller.outside("the day begins, and all kinds of requests come in")
    day = it.customers("production", per_minute=240)
    it.wait_until(4, "RolledBack")
    _stop(day, teller)
    teller.catch_up()
    teller.mail("churn/4 was rolled back")


def _end_state(it: Company, teller: Teller) -> None:
    for version, phase in ((1, "Superseded"), (2, "Live"), (3, "RolledBack"), (4, "RolledBack")):
        teller.check(f"{GROUP}/{version} is {phase}", it.phase(version) == phase)
    teller.check("production serves version 2", it.serves("production") == 2)
    s3 = {stage: it.cloud.client("s3", account) for stage, account in _ACCOUNTS.items()}
    for stage, client in s3.items():
        teller.check(
            f"{stage} has its own copy of version 2, the very bytes that were approved",
            _own_copy(it, stage, client),
        )
    failed = [each for each in it.cloud.invocations if each.error]
    teller.check(f"none of {len(it.cloud.invocations)} function calls failed", not failed)
    teller.check("no event, message or record was lost", not it.cloud.lost)
    denials = it.cloud.authorization.denials
    teller.check("no function asked for more than its role allows", not denials)


_ACCOUNTS = {"staging": STAGING, "production": PRODUCTION}


def _own_copy(it: Company, stage: str, s3: object) -> bool:
    release = it.release(2)
    if release is None or release.artifact is None:
        return False
    bucket = it.outputs[_ACCOUNTS[stage]]["ArtifactBucketName"]
    key = f"{GROUP}/2/{release.artifact.sha256[:16]}/model.tar.gz"
    head = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")  # type: ignore[attr-defined]
    return base64.b64decode(head["ChecksumSHA256"]).hex() == release.artifact.sha256


def _through_staging(it: Company, teller: Teller, version: int) -> None:
    teller.outside(f"the model's owner approves {GROUP}/{version} in the registry")
    it.decide(version, "Approved")
    it.wait(seconds=5)
    it.wait_until(version, "AwaitingApproval")
    teller.catch_up()


def _into_production(it: Company, teller: Teller, version: int) -> None:
    release = f"{GROUP}/{version}"
    teller.outside(f"sageops approve {release} --stage production --by on-call")
    it.command("approve", release, "--stage", "production", "--by", "on-call")
    it.wait(seconds=5)


def _stop(customers: Customers, teller: Teller) -> None:
    customers.stop()
    teller.outside(f"{customers.answered} requests so far, {customers.failed} of them failed")


def _without_zeros() -> list[Request]:
    """The rows that the bad version can answer."""
    found = []
    for request in requests():
        row = json.loads(request.body)["instances"][0]
        if all(row[column] > 0 for column in CONCAVITY):
            found.append(request)
    return found


def _harmed(it: Company, version: int) -> int:
    last = [entry for entry in it.log() if entry.version == version][-1]
    return int(last.facts.get("harmed", -1))


def _verdict(it: Company, teller: Teller) -> bool:
    teller.chapter("What the simulator shows in the end")
    for what, holds in teller.checks:
        teller.console.print(
            Text(f"{'✓' if holds else '✗'} {what}", "green" if holds else "bold red")
        )
    return all(holds for _, holds in teller.checks)


if __name__ == "__main__":
    sys.exit(main())
