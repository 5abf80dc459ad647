"""The reporting summary: how the numbers came about, item by item, each from the records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from carft.config.cell import PROTOCOL
from carft.config.settings import NO_CLIP
from carft.config.weights import display_form
from carft.core.errors import first_of
from carft.store.study import StudyFile
from reports.evidence.evidence import Evidence, label
from reports.evidence.outcomes import Frame
from reports.figures.style import Methods
from reports.render.formatting import NOTHING

#: names that an item lists before it counts the rest
NAMED = 12


def checklist(evidence: Evidence) -> list[tuple[str, str]]:
    """(item, words) of the summary. What differs between scopes is said of each."""
    views = list(evidence.views())

    def of_each(words: Callable[[Evidence], str]) -> str:
        texts = [(view.name, words(view)) for view in views]
        return texts[0][1] if len(texts) == 1 else " ".join(f"{name}: {text}" for name, text in texts)

    return [
        ("Data", of_each(_data)),
        ("Sample sizes", of_each(_sizes)),
        ("Splits", of_each(_splits)),
        ("Model", of_each(_model)),
        ("Training", of_each(_training)),
        ("Selection", _selection(evidence.archive.studies)),
        ("Budget per method", of_each(_budget)),
    ]


def _range(counts: Sequence[int]) -> str:
    """``3``, or ``31 to 44``; a dash for none."""
    if not counts:
        return NOTHING
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _data(view: Evidence) -> str:
    versions = sorted({study.data_version for study in view.studies})
    count = len(view.tasks)
    return (
        f"{count} task{'s' * (count > 1)}, scale {view.scale}, data version {', '.join(versions)}: "
        f"{first_of(view.tasks, NAMED)}."
    )


def _sizes(view: Evidence) -> str:
    """Confirm seeds of a study, and groups and images of the held-out sets of a task."""
    words = [f"{_range([len(study.confirm) for study in view.studies if study.winner])} confirm seeds a study"]
    frames = [pair for task in view.tasks for pair in _frames(view, task)]
    unit = view.card(view.tasks[0]).group
    for what, frames_of_kind in (
        ("the ID test set of a task", [frame for name, frame in frames if name == "test"]),
        ("a shifted set", [frame for name, frame in frames if name != "test"]),
    ):
        if frames_of_kind:
            groups = _range([len(set(frame.groups.tolist())) for frame in frames_of_kind])
            images = _range([len(frame.labels) for frame in frames_of_kind])
            words.append(f"{what} has {groups} {unit}s" + (f", {images} images" if images != groups else ""))
    return "; ".join(words) + "."


def _frames(view: Evidence, task: str) -> list[tuple[str, Frame]]:
    """The held-out sets of a task with their images; empty without an evaluated cell."""
    names = view.set_names(task)
    cells = [cell for study in view.studies if study.task == task for cell in study.confirm]
    opened = next((cell for cell in cells if view.archive.is_open(cell, task, names)), None)
    return [] if opened is None else [(name, view.outcome(opened, name).frame) for name in names]


def _splits(view: Evidence) -> str:
    """What is trained, selected and tested on, and how validation images are held out."""
    suites = first_of(view.suite_names(), NAMED)
    tested = any("test" in view.set_names(task) for task in view.tasks)
    held = [*(["an ID test set"] if tested else []), *([f"shifted sets ({suites})"] if suites else [])]
    given = {name: {getattr(study, name) for study in view.studies} for name in PROTOCOL}
    protocol = "; ".join(f"{name.replace('_', ' ')} {', '.join(sorted(values))}" for name, values in given.items())
    return f"Training, validation, and held out {' and '.join(held) or 'nothing'}. {protocol.capitalize()}."


def _model(view: Evidence) -> str:
    models = sorted({(*display_form(s.model, s.pretrained), s.precision) for s in view.studies})
    return "; ".join(f"{model}, weights '{weights}', {precision}" for model, weights, precision in models) + "."


def _training(view: Evidence) -> str:
    """The commonest recipe of the studies, and what others change in it."""
    recipes: dict[str, list[StudyFile]] = {}
    for study in view.studies:
        recipes.setdefault(_named(study.training.content()), []).append(study)
    common, *others = sorted(recipes.values(), key=len, reverse=True) or [[]]
    words = [_named(common[0].training.content()) if common else "nothing was trained"]
    words += [_departure(common[0], studies, view.methods) for studies in others]
    readings = dict.fromkeys(_named(study.reading) for study in view.studies if study.reading)
    changed = f" Readings that differ from the default: {'; '.join(readings)}." if readings else ""
    return "; ".join(words) + "." + changed


def _departure(common: StudyFile, studies: Sequence[StudyFile], methods: Methods) -> str:
    """What the training of some studies has that the common recipe has not, with their methods."""
    usual, content = common.training.content(), studies[0].training.content()
    differing = {name: content.get(name, "default") for name in usual | content if content.get(name) != usual.get(name)}
    names = [label(method, methods) for method in dict.fromkeys(study.method for study in studies)]
    return f"{first_of(names, NAMED)}: {_named(differing)}"


def _named(values: Mapping[str, object]) -> str:
    shown = {name: "off" if name == "clip" and value == NO_CLIP else value for name, value in values.items()}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())


def _selection(studies: Sequence[StudyFile]) -> str:
    oracle = " Search cells were also tested, for oracle selection alone." if any(s.oracle for s in studies) else ""
    shared = any(study.selected_over for study in studies)
    of = "One setting for the tasks of a family, by means over them: highest" if shared else "Of each task: highest"
    return (
        f"{of} validation top-1, then lowest validation loss, then lowest trial number. The winner is run again with "
        f"fresh seeds.{oracle}"
    )


def _budget(view: Evidence) -> str:
    """Trials, searches, confirm cells and ranges of each trained method."""
    methods = dict.fromkeys(s.method for s in view.studies)
    return " ".join(_of_method(view, method) for method in methods) or "No method was trained."


def _of_method(view: Evidence, method: str) -> str:
    studies = [study for study in view.studies if study.method == method]
    trials = [n for task in dict.fromkeys(s.task for s in studies) for n in view.ended_by_search(task, method)]
    ranges = dict.fromkeys(
        ", ".join(f"{name.replace('_', ' ')} {low:g} to {high:g}" for name, (low, high, _) in s.space.items())
        for s in studies
    )
    cells = sum(cell in view.records for study in studies for cell in study.confirm)
    name = label(method, view.methods) if method in view.methods else method
    return (
        f"{name}: {len(studies)} studies, {_range(trials)} trials each, "
        f"{cells} confirm cells; {' or '.join(filter(None, ranges)) or 'no range on record'}."
    )
