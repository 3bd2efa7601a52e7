"""A stage's gate: what speaks against the stage, what people should know before they approve it,
and on whose word it opens."""

from msgspec.structs import replace

from sageops.conditions import find, with_condition
from sageops.evidence import Counts
from sageops.model import (
    EndpointSeen,
    Entry,
    Idle,
    Record,
    Release,
    StageRun,
    Step,
    Stop,
    View,
    Word,
)
from sageops.moves import entry, is_of_this_life, record, stop, to_step
from sageops.names import copied_image, copies_image
from sageops.policy import Approvals, Stage
from sageops.power import assess, traffic, warning
from sageops.rollout import refused
from sageops.wishes import is_somebody

__all__ = ["gate"]


def gate(view: View, release: Release, run: StageRun, stage: Stage, rules: Approvals) -> Step:
    """Refuse what cannot be, before anything is touched and before a person is asked to approve
    it; then open, or ask."""
    against = _against(view, release, run, stage, rules)
    if against is not None:
        return against
    warned: tuple[Entry, ...] = ()
    if run.step == "waiting":
        release, warned = _powered(view, release, stage)
    if stage.gate == "auto":
        begun = to_step(view, release, replace(run, begun_at=view.now), "copying")
        told = entry(view.now, release, "StageBegun", "The gate is automatic.", stage=stage.name)
        return record(view, begun, log=(*warned, told))
    words = _words(view, release, run)
    word = next((each for each in words if not _refusal(release, each, rules)), None)
    if word is None:
        refusal = f"{words[0].by} did, {_refusal(release, words[0], rules)}" if words else ""
        return _ask(view, release, run, stage, refusal, warned)
    message = f"{word.by} approved {stage.name}."
    approved = replace(run, approved_by=word.by, begun_at=view.now)
    begun = to_step(view, release, approved, "copying")
    begun = with_condition(begun, "Approved", True, "GateApproved", message, view.now)
    told = entry(
        view.now, release, "GateApproved", message, severity="info", stage=stage.name, by=word.by
    )
    return record(view, begun, log=(*warned, told))


def _against(
    view: View, release: Release, run: StageRun, stage: Stage, rules: Approvals
) -> Record | None:
    approver, registrar = release.detail.modified_by, release.detail.registered_by
    if rules.not_the_registrar and (approver == registrar or not is_somebody(approver)):
        wrong = (
            f"{approver} registered the package and approved it, and the policy wants somebody "
            "else for one of them"
            if approver == registrar
            else "Nobody can say who approved the package, since it was changed after that, and "
            f"the policy wants somebody else than {registrar}, who registered it"
        )
        message = f"{wrong}: register it again, and let another approve."
        return stop(view, release, run, Stop("Failed", "ApprovedByRegistrar", message))
    if copies_image(release, stage) and copied_image(release, stage.target) is None:
        message = (
            f"{stage.name} serves from a copy of the image, and only an image of the hub's own "
            f"registry, by its digest, is copied, not {release.detail.image}: push it there and "
            "register the package with that address, or say `image: origin` in the policy."
        )
        return stop(view, release, run, Stop("Failed", "ImageElsewhere", message))
    seen = view.endpoints.get(stage.name)
    if seen is None or (isinstance(seen, EndpointSeen) and seen.status == "InService"):
        return refused(view, release, run, stage, seen)
    return None


def _words(view: View, release: Release, run: StageRun) -> list[Word]:
    """Who has approved the stage of this release so far, by the command, the board, the chat or in
    the registry; the newest first."""
    wish = view.records.wishes.get(release.version)
    given = wish.approvals.get(run.stage) if wish is not None else None
    words = [each for each in (given, run.said) if each is not None]
    fresh = [each for each in words if is_of_this_life(release, each)]
    return sorted(fresh, key=lambda each: each.at, reverse=True)


def _refusal(release: Release, word: Word, rules: Approvals) -> str:
    """Why the policy does not take this person's word, as far as one can know; empty if it does."""
    approver, registrar = release.detail.modified_by, release.detail.registered_by
    if rules.different_people and not is_somebody(approver):
        return (
            "but nobody can say who approved the package, and the policy wants somebody else here: "
            "reject the package, and approve it again."
        )
    if rules.different_people and (approver == word.by or not is_somebody(word.by)):
        unnamed = "" if is_somebody(word.by) else " This way does not say who it was: use another."
        wanted = f"somebody else than {approver}, who approved the package"
        return f"but the policy wants {wanted}.{unnamed}"
    if rules.not_the_registrar and word.by == registrar:
        return f"but the policy wants somebody else than {registrar}, who registered the package."
    return ""


def _ask(  # noqa: PLR0913 - whom, for what, and what was said so far
    view: View,
    release: Release,
    run: StageRun,
    stage: Stage,
    refusal: str,
    warned: tuple[Entry, ...],
) -> Step:
    message = f"Waits for a person to approve {stage.name}. {refusal}".strip()
    waiting = find(release.conditions, "Approved")
    if run.step == "gate" and waiting is not None and waiting.message == message:
        return Idle(f"{release.name} waits for a person to approve {stage.name}")
    asked = to_step(view, release, run, "gate")
    asked = with_condition(asked, "Approved", False, "GateWaiting", message, view.now)
    told = entry(view.now, release, "GateWaiting", message, severity="action", stage=stage.name)
    return record(view, asked, log=(*warned, told))


def _powered(view: View, release: Release, stage: Stage) -> tuple[Release, tuple[Entry, ...]]:
    """The release, with a warning where this stage's comparisons would find too little in the
    traffic of the last day."""
    weak = _too_weak(stage, view.traffic[stage.name]) if stage.name in view.traffic else ""
    known = find(release.conditions, "Underpowered")
    if not weak:
        if known is None or not known.status:
            return release, ()
        message = f"{stage.name} has traffic enough for what the policy wants to see."
        return with_condition(release, "Underpowered", False, "Enough", message, view.now), ()
    message = f"{stage.name}: {weak}"
    told = entry(view.now, release, "Underpowered", message, severity="info", stage=stage.name)
    return with_condition(release, "Underpowered", True, "TooLittle", message, view.now), (told,)


def _too_weak(stage: Stage, minutes: tuple[Counts, ...]) -> str:
    """Empty, or what is not enough and what would do."""
    if not minutes:
        return "no requests in the last day, so there is nothing to compare the new version with."
    found = assess(stage, traffic(minutes, len(minutes)))
    return " ".join(warning(each) for each in found if not each.enough)
