"""What a release shows on its package in the registry (ModelLifeCycle), and what people say there.

The two share no word. A person says Approved or Rejected of a stage, in Studio or by
UpdateModelPackage; the control plane writes neither, and its role is refused when it tries
(template.yaml, NeverOpenGates). So nothing that it wrote, once, twice or late, is ever taken for a
word of somebody's.

Source: developer guide, 'Staging Construct for your Model Lifecycle'.
"""

from msgspec.structs import replace

from sageops.conditions import phase
from sageops.model import (
    Act,
    LabelPackage,
    LifeCycle,
    PackageSeen,
    Phase,
    Record,
    Release,
    StageRun,
    Stop,
    View,
    Word,
)
from sageops.moves import (
    act,
    current_run,
    entry,
    has_ended,
    is_of_this_life,
    record,
    turn_back,
)

__all__ = ["heard", "is_word", "label", "said_before", "show", "unheard"]

_WORDS = ("approved", "rejected")
# A phase by another name, where its own is a person's word.
_CALLED: dict[Phase, str] = {"Rejected": "Declined"}


def label(release: Release) -> str:
    """What a release's package is to show in the registry: the stage it is in, and its phase."""
    now = phase(release.conditions)
    return f"{current_run(release).stage} {_CALLED.get(now, now)}"


def show(view: View, release: Release) -> Act:
    """Write the label. What somebody says of a release that has ended is too late to be heard."""
    stage, _, status = label(release).partition(" ")
    why = current_run(release).stop
    shown = LifeCycle(stage, status, why.message if why is not None else "")
    over = None if has_ended(release) else view.packages.get(release.version)
    return act(view, LabelPackage(release.package_arn, shown, over), release)


def is_word(life_cycle: LifeCycle | None) -> bool:
    """Whether a person wrote it. Case does not matter: Studio's own stages are `Production`."""
    return life_cycle is not None and life_cycle.status.lower() in _WORDS


def said_before(life_cycle: LifeCycle | None) -> str:
    """What a new release begins with as its label: a person's word that is older than the release,
    so that it is no news of it.

    The registry has one LastModifiedTime for all of a package. Whoever approves a package anew
    would give an old word the time of their approval.
    """
    if life_cycle is None or not is_word(life_cycle):
        return ""
    return _text(life_cycle)


def unheard(release: Release, package: PackageSeen) -> bool:
    """Whether the package shows a word of a person's that is news and still matters."""
    return _news(release, package.life_cycle) is not None


def heard(view: View, release: Release) -> Record | None:
    """Take down what somebody said in the registry, before anything of ours is written over it: an
    approval is kept for the stage's gate, and a rejection ends the release, as `abort` does.

    What was said before the release was admitted is of an earlier time, and ends nothing.
    """
    package, detail = view.packages.get(release.version), view.details.get(release.version)
    if package is None or detail is None or not unheard(release, package):
        return None
    # The description is one look at word and author; the list may be behind it.
    said, run = detail.life_cycle, _news(release, detail.life_cycle)
    if said is None or run is None or detail.modified_at is None:
        return None
    if run.said is not None and detail.modified_at <= run.said.at:
        return None
    release = replace(release, label=_text(said))
    word = Word(detail.modified_by, detail.modified_at, said.description)
    message = f"{word.by} set {run.stage} to {said.status} in the registry"
    message = f"{message}: {word.why}" if word.why else f"{message}."
    if said.status.lower() == "approved":
        release = release.with_run(replace(run, said=word))
    elif is_of_this_life(release, word):
        return turn_back(view, release, Stop("Aborted", "StageRejected", message, word.by))
    told = entry(view.now, release, "SaidInRegistry", message, stage=run.stage, by=word.by)
    return record(view, release, log=(told,))


def _news(release: Release, said: LifeCycle | None) -> StageRun | None:
    """The run that a person's word is about, if nobody has heard it and it can still change it: an
    approval until the stage has left its gate, a rejection until it is live."""
    if said is None or not is_word(said) or _text(said) == release.label:
        return None
    run = next((each for each in release.runs if each.stage == said.stage.lower()), None)
    if run is None:
        return None
    if said.status.lower() == "approved":
        return run if run.begun_at is None else None
    return run if run.step not in ("live", "stopping", "counting", "stopped") else None


def _text(life_cycle: LifeCycle) -> str:
    return f"{life_cycle.stage} {life_cycle.status}"
