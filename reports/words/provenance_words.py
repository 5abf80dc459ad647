"""What made the cells of a report."""

from carft.config.cell import PROTOCOL, Cell, display_form
from carft.store.record_files import Provenance
from reports.evidence.evidence import Evidence


def setting_line(cell: Cell) -> str:
    """What a cell is besides task, method, hyperparameters and seed, in one line."""
    spec = cell.as_dict()
    training = []
    for name, value in {**spec["training"], **spec["reading"]}.items():
        training.append(f"{name.replace('_', ' ')} {value}")
    for name in PROTOCOL:
        if name in spec:
            training.append(f"{name.replace('_', ' ')} {spec[name]}")
    model, weights = display_form(cell.model, cell.pretrained)
    start = f"{model}, weights '{weights}', data {cell.data_version}, {cell.precision}"
    return f"{start}; {', '.join(training)}"


def maker_words(made: Provenance) -> str:
    """Versions and machine of a record in one line."""
    packages = []
    for name, version in made.packages.items():
        if name in ("torch", "open_clip_torch", "ray"):
            packages.append(f"{name} {version}")
    where = f"{made.execution.device}, {made.execution.workers} worker(s)"
    if made.cpu:  # earlier versions did not record it
        where += f" on {' with '.join(made.cpu.values())}"
    attested = made.digests.get("attested", "unknown")
    return (
        f"carft {made.carft} (NUMERICS {made.numerics}), Python {made.python}, {', '.join(packages)}; "
        f"{where}; data attested: {attested}"
    )


def rests_on_words(evidence: Evidence) -> str:
    """How many cells and tasks there are, and the model and epochs of the first scope."""
    tasks = sum(len(view.tasks) for view in evidence.views())
    epochs = int(evidence.studies[0].training.epochs)
    models = sorted({display_form(study.model, study.pretrained) for study in evidence.studies})
    named = ", ".join(f"{model} (weights '{weights}')" for model, weights in models)
    return (
        f"{len(evidence.records):,} cells, {tasks} task{'s' * (tasks > 1)}; {evidence.name}: model {named}, "
        f"{epochs} training epoch{'s' * (epochs > 1)}."
    )


def about_words(evidence: Evidence) -> str:
    """What the report is about: the tasks or family of the first scope, and how many more scopes there are."""
    more = len(evidence.others)
    if not more:
        return evidence.name
    return f"{evidence.name} and {more} other scope{'s' * (more > 1)}"
