"""What people read: an entry of the log as a message with a subject that says it all.

Two renderings of the same letter: mail, and the custom notifications of Amazon Q Developer in chat
applications (its administrator guide, 'Custom notifications'). Limits: SNS subjects are ASCII of at
most 100 characters without line breaks, a message is at most 256 KiB (SNS Publish).
"""

import re
from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct, json

from sageops.links import dashboard, model_version, report
from sageops.model import Entry

__all__ = ["ENDINGS", "Message", "Places", "chat", "headline", "message"]

# The entries that end a release, at least for now: its report is written in the moment after.
ENDINGS = ("Live", "RolledBack", "Failed", "Rejected", "Aborted", "Superseded")

_SUBJECT = 99
# Of 262,144 bytes; the attributes count, too.
_BODY_BYTES = 200_000
# Chat shows a few thousand characters of a description.
_CHAT_CHARACTERS = 2000
_WIDTH = 34
# How the reason of a failed pipeline execution begins.
_STEPS_FAILED = "One or multiple steps failed. "


class Places(Struct, frozen=True):
    """Where messages point to: the hub's Region, its dashboard, and the bucket of reports; either
    name is empty where there is none."""

    region: str
    dashboard: str = ""
    reports: str = ""


class Message(Struct, frozen=True):
    subject: str
    body: str
    attributes: dict[str, str]


def message(entry: Entry, places: Places) -> Message:
    """The mail for one entry."""
    paragraphs = [
        f"{_title(entry)}.",
        entry.why,
        _evidence(entry),
        _then(entry),
        _links(entry, places),
        f"{entry.at:%Y-%m-%d %H:%M:%S} UTC, by {entry.by}"
        + (f", policy version {entry.policy_version}." if entry.policy_version else "."),
    ]
    body = "\n\n".join(paragraph for paragraph in paragraphs if paragraph)
    return Message(_subject(entry), _cut(body, entry), _attributes(entry))


def chat(entry: Entry, places: Places) -> Message:
    """The same for a chat channel, its body a custom notification in JSON.

    A release's messages share a thread. `additionalContext` is what buttons
    (AWS::Chatbot::CustomAction) show themselves by and act with.
    """
    figures = [f"- {name}: {value}" for name, value in _figures(entry)]
    steps = [line for line in _then(entry).splitlines() if line]
    notification = {
        "version": "1.0",
        "source": "custom",
        "content": {
            "textType": "client-markdown",
            "title": _title(entry),
            "description": _short("\n".join([entry.why, *figures]), _CHAT_CHARACTERS),
            "nextSteps": [_short(step, 300) for step in [*steps, *_addresses(entry, places)]],
            "keywords": [word for word in (entry.group, entry.stage, entry.what) if word],
        },
        "metadata": {
            "threadId": _name(entry),
            "summary": _short(entry.why, 200),
            "eventType": entry.what,
            "enableCustomActions": True,
            "additionalContext": {
                "group": entry.group,
                "version": "" if entry.version is None else str(entry.version),
                "stage": entry.stage or "",
                "event": entry.what,
                "severity": entry.severity,
            },
        },
    }
    return Message(_subject(entry), json.encode(notification).decode(), _attributes(entry))


def headline(what: str) -> str:
    """What an event means, said of a release: 'is live'."""
    return _HEADLINES.get(what, f"has news: {what}")


# ---------------------------------------------------------------- words for each event

_URGENCY = {"record": "log", "info": "info", "action": "needs you", "alert": "alert"}

# Add an event here and, where a person can do something about it, below.
_HEADLINES = {
    "Registered": "is waiting for approval",
    "Approved": "is approved",
    "Pinned": "has its bytes pinned",
    "GateWaiting": "needs an approval to go on",
    "GateApproved": "may go on",
    "Promoted": "was promoted",
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

_NOTHING = "What happens next: it goes on by itself; nothing is asked of you."


def _registered(entry: Entry, name: str) -> str:
    return (
        "What to do: approve or reject this version in the registry (SageMaker Studio, Models, "
        f"{entry.group}, version {entry.version}), or\n"
        f"  sageops reject {name} --why REASON\n"
        "If nobody does, nothing is released."
    )


def _at_the_gate(entry: Entry, name: str) -> str:
    return (
        f"What to do:\n  sageops approve {name} --stage {entry.stage} --by YOUR-NAME\n"
        f"Or in SageMaker Studio: Models, {entry.group}, version {entry.version}, Update model "
        f"lifecycle: stage {entry.stage}, status Approved. Rejected ends the release.\n"
        f"Or:\n  sageops abort {name} --by YOUR-NAME\n"
        "If nobody does, it waits, and what is live stays live."
    )


def _on_its_way(entry: Entry, name: str) -> str:
    return f"{_NOTHING}\nTo stop it: sageops abort {name} --by YOUR-NAME"


def _live(entry: Entry, name: str) -> str:
    return (
        "What happens next: its alarms stay watched, and one that fires takes it back.\n"
        f"To take it back yourself: sageops rollback {name} --by YOUR-NAME"
    )


def _blocked(entry: Entry, name: str) -> str:
    return (
        "What happens next: it is tried again, at least every 15 minutes, until it works.\n"
        f"To try at once: sageops resume {name} --by YOUR-NAME\n"
        f"To give up: sageops abort {name} --by YOUR-NAME"
    )


def _stuck(entry: Entry, name: str) -> str:
    return (
        f"What to do: look why it waits: sageops explain {name}\n"
        f"To give up: sageops abort {name} --by YOUR-NAME\n"
        "If nobody does, it stays where it is."
    )


def _paused(entry: Entry, name: str) -> str:
    return f"To let it go on: sageops resume {name} --by YOUR-NAME\nIf nobody does, it waits."


def _over(entry: Entry, name: str) -> str:
    return (
        "What happens next: nothing more with this version; what was live before stays live.\n"
        f"What is known of it: sageops report {name}"
    )


def _undecided(entry: Entry, name: str) -> str:
    return (
        f"What to do:\n  sageops promote {name} --stage {entry.stage} --by YOUR-NAME\n"
        f"Or:\n  sageops abort {name} --by YOUR-NAME\n"
        "If nobody does, it stays as it is, and goes on or back when the evidence decides."
    )


_THEN: Mapping[str, Callable[[Entry, str], str]] = {
    "Registered": _registered,
    "GateWaiting": _at_the_gate,
    "Approved": _on_its_way,
    "GateApproved": _on_its_way,
    "SmokePassed": _on_its_way,
    "StageLive": _on_its_way,
    "Resumed": _on_its_way,
    "Live": _live,
    "Blocked": _blocked,
    "Stuck": _stuck,
    "Undecided": _undecided,
    "ShadowPassed": _on_its_way,
    "Shifted": _on_its_way,
    "Promoted": _on_its_way,
    "Paused": _paused,
    "RolledBack": _over,
    "Failed": _over,
    "Rejected": _over,
    "Aborted": _over,
    "Superseded": _over,
    "TakingBack": lambda entry, name: (
        "What happens next: the endpoint goes back to what it served before; you are told when it "
        "is there, and how many requests were harmed. Nothing is asked of you."
    ),
    "AlarmAfterLive": lambda entry, name: (
        "What to do: look at once; nothing is done by itself. Approve a better version, or delete "
        f"the endpoint of {entry.stage}."
    ),
    "Drifted": lambda entry, name: (
        "What to do: settle who owns the endpoint. The next release takes what it finds as what to "
        "go back to. The policy's `drift` says what is done without anybody: tell, correct, adopt."
    ),
    "CorrectionFailed": lambda entry, name: (
        "What to do: bring the endpoint back yourself, or approve another version. It is not tried "
        "again."
    ),
    "Downgraded": lambda entry, name: (
        "What happens next: it bakes for longer, under its alarms. If that is not what you want: "
        f"sageops abort {name} --by YOUR-NAME"
    ),
    "Underpowered": lambda entry, name: (
        "What happens next: it goes on, and the alarms watch it. What would do: "
        "sageops power POLICY-FILE"
    ),
    "TrainingFailed": lambda entry, name: (
        "What happens next: the next scheduled training runs as planned; what is live stays live."
    ),
    "TrainingStopped": lambda entry, name: (
        "What happens next: the next scheduled training runs as planned; what is live stays live."
    ),
    "LabelFailed": lambda entry, name: (
        "What happens next: the release goes on; only the registry does not show where it is."
    ),
}


def _then(entry: Entry) -> str:
    """What happens if nobody acts, and how to act."""
    found = _THEN.get(entry.what)
    return "" if found is None else found(entry, _name(entry))


# ---------------------------------------------------------------- the parts


def _name(entry: Entry) -> str:
    return entry.group if entry.version is None else f"{entry.group}/{entry.version}"


def _title(entry: Entry) -> str:
    where = f" in {entry.stage}" if entry.stage else ""
    return f"{_name(entry)} {headline(entry.what)}{where}"


def _subject(entry: Entry) -> str:
    """The title, and what decides whether one opens the mail: harm, reason, or on whose word."""
    gist = _gist(entry)
    title = f"[{_URGENCY[entry.severity]}] {_title(entry)}"
    return _ascii(f"{title}: {gist}" if gist else title)


def _gist(entry: Entry) -> str:
    facts = entry.facts
    match entry.what:
        case "Approved" | "GateApproved" | "Promoted" | "Paused" | "Resumed":
            return f"by {entry.by}"
        case "Aborted" | "Rejected" if facts.get("harmed", "0") == "0":
            return f"by {entry.by}"
        case "Shifted":
            return f"{facts['share']} %" if "share" in facts else ""
        case "TrainingFailed":
            return entry.why.removeprefix(_STEPS_FAILED).removeprefix("Not registered: ")
        case "Registered":
            # Its facts are the figures of somebody's report, whatever those are called there.
            return ""
        case _ if "harmed" in facts and "requests" in facts:
            return f"{facts['harmed']} of {facts['requests']} requests harmed"
        case "TakingBack" | "RolledBack" | "Failed":
            # AlarmFired: alarm fired.
            return re.sub(r"(?<!^)(?=[A-Z])", " ", facts.get("reason", "")).lower()
        case _:
            return ""


def _evidence(entry: Entry) -> str:
    """The figures behind it, a line each."""
    return "\n".join(
        f"  {name.replace('_', ' ') + ':':<{_WIDTH}} {value}" for name, value in _figures(entry)
    )


def _figures(entry: Entry) -> Iterator[tuple[str, str]]:
    facts = dict(entry.facts)
    if entry.what in ("Registered", "Approved"):
        yield from facts.items()
        return
    harmed, requests = facts.pop("harmed", None), facts.pop("requests", None)
    yield from facts.items()
    if harmed is not None:
        yield "harmed requests", harmed if requests is None else f"{harmed} of {requests}"


def _addresses(entry: Entry, places: Places) -> Iterator[str]:
    if entry.version is not None:
        yield f"Model version: {model_version(places.region, entry.group, entry.version)}"
    yield f"Dashboard: {dashboard(places.region, places.dashboard)}"
    if entry.version is not None and places.reports and entry.what in ENDINGS:
        address = report(places.region, places.reports, entry.group, entry.version)
        yield f"Report: {address}"


def _links(entry: Entry, places: Places) -> str:
    return "\n".join(_addresses(entry, places))


def _attributes(entry: Entry) -> dict[str, str]:
    return {
        "group": entry.group,
        "severity": entry.severity,
        "event": entry.what,
        **({"stage": entry.stage} if entry.stage else {}),
        **({"version": str(entry.version)} if entry.version is not None else {}),
    }


def _cut(body: str, entry: Entry) -> str:
    encoded = body.encode(errors="replace")
    if len(encoded) <= _BODY_BYTES:
        return body
    kept = encoded[:_BODY_BYTES].decode(errors="ignore")
    return f"{kept}\n\nCut here. All of it: sageops history {entry.group} --json"


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _ascii(text: str) -> str:
    plain = "".join(c if c.isprintable() else " " for c in text.encode("ascii", "replace").decode())
    return plain if len(plain) <= _SUBJECT else f"{plain[: _SUBJECT - 3]}..."
