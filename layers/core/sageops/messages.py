"""What people read: an entry of the log as a message with a subject that says it all.

Limits: SNS subjects are ASCII of at most 100 characters, without line breaks (SNS Publish).
"""

from urllib.parse import quote

from msgspec import Struct

from sageops.model import Entry

__all__ = ["Message", "message"]

_SUBJECT = 99


class Message(Struct, frozen=True):
    subject: str
    body: str
    attributes: dict[str, str]


def message(entry: Entry, region: str) -> Message:
    """The message for one entry; `region` is the hub's, for the links."""
    name = entry.group if entry.version is None else f"{entry.group}/{entry.version}"
    where = f" in {entry.stage}" if entry.stage else ""
    subject = f"[{_URGENCY[entry.severity]}] {name} {_headline(entry)}{where}"
    paragraphs = [
        f"{name} {_headline(entry)}{where}.",
        entry.why,
        _facts(entry),
        _next(entry, name),
        _links(entry, region),
        f"{entry.at:%Y-%m-%d %H:%M:%S} UTC, by {entry.by}"
        + (f", policy version {entry.policy_version}." if entry.policy_version else "."),
    ]
    body = "\n\n".join(paragraph for paragraph in paragraphs if paragraph)
    attributes = {
        "group": entry.group,
        "severity": entry.severity,
        "event": entry.what,
        **({"stage": entry.stage} if entry.stage else {}),
        **({"version": str(entry.version)} if entry.version is not None else {}),
    }
    return Message(_ascii(subject), body, attributes)


_URGENCY = {"record": "log", "info": "info", "action": "needs you", "alert": "alert"}

_HEADLINES = {
    "Registered": "is waiting for approval",
    "Approved": "is approved",
    "GateWaiting": "needs an approval to go on",
    "GateApproved": "may go on",
    "SmokePassed": "passed its smoke test",
    "StageLive": "is live",
    "Live": "is live",
    "RolledBack": "was rolled back",
    "Failed": "failed",
    "Rejected": "was rejected",
    "Aborted": "was aborted",
    "Superseded": "is superseded",
    "Blocked": "is blocked",
    "ShadowPassed": "is no worse in the shadow",
    "Shifted": "has more of the traffic",
    "Undecided": "needs somebody to decide",
    "Stuck": "is stuck",
    "Underpowered": "has too little traffic to be judged by",
    "Downgraded": "was rolled out without its protection",
    "Drifted": "was changed by hand",
    "DriftEnded": "is back as it was",
    "CorrectionFailed": "could not be brought back",
    "Adopted": "was replaced by hand",
    "Paused": "is paused",
    "Resumed": "goes on",
    "TakingBack": "is being taken back",
    "AlarmAfterLive": "does harm",
    "TrainingFailed": "was not trained",
    "TrainingStopped": "was not trained",
    "LabelFailed": "cannot be labelled in the registry",
}


def _headline(entry: Entry) -> str:
    return _HEADLINES.get(entry.what, f"has news: {entry.what}")


def _facts(entry: Entry) -> str:
    return "\n".join(f"  {name}: {value}" for name, value in entry.facts.items())


def _next(entry: Entry, name: str) -> str:
    match entry.what:
        case "Registered":
            return (
                "What to do: approve or reject this version in the registry (SageMaker Studio, "
                f"Models, {entry.group}, version {entry.version}). "
                "If nobody does, nothing is released."
            )
        case "GateWaiting":
            return (
                f"What to do: sageops approve {name} --stage {entry.stage} --by YOUR-NAME\n"
                f"Or: sageops abort {name} --by YOUR-NAME\n"
                "If nobody does, it waits."
            )
        case "Undecided":
            return (
                f"What to do: sageops promote {name} --stage {entry.stage} --by YOUR-NAME\n"
                f"Or: sageops abort {name} --by YOUR-NAME\n"
                "If nobody does, it stays as it is, and goes on or back when the evidence decides."
            )
        case "Blocked":
            return (
                "What happens next: it is tried again, at least every 15 minutes, until it works.\n"
                f"To try at once: sageops resume {name} --by YOUR-NAME\n"
                f"To give up: sageops abort {name} --by YOUR-NAME"
            )
        case "TrainingFailed":
            return "What happens next: the next scheduled training runs as planned."
        case _:
            return ""


def _links(entry: Entry, region: str) -> str:
    console = f"https://{region}.console.aws.amazon.com"
    links = [f"Dashboard: {console}/cloudwatch/home?region={region}#dashboards"]
    if entry.version is not None:
        group = quote(entry.group)
        page = f"sagemaker/home?region={region}#/model-registry/{group}/{entry.version}"
        links.insert(0, f"Model version: {console}/{page}")
    return "\n".join(links)


def _ascii(text: str) -> str:
    plain = "".join(c if c.isprintable() else " " for c in text.encode("ascii", "replace").decode())
    return plain if len(plain) <= _SUBJECT else f"{plain[: _SUBJECT - 3]}..."
