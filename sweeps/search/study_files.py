"""study.json of each study of a sweep: what stood there before, and what is written. No Ray."""

from collections.abc import Container, Sequence

from carft.core.errors import UserError
from carft.store.records import Store
from carft.store.study_file import Extension, StudyFile
from sweeps.recipes.recipe import Recipe
from sweeps.search.progress import StudyProgress
from sweeps.search.study import Study


class StudyFiles:
    """The files of the studies of a recipe. A file that is older than the records is made anew from them."""

    def __init__(self, recipe: Recipe, store: Store, remarks: dict[str, str]) -> None:
        """remarks: gets what is said of a damaged file."""
        self.recipe, self.store, self.remarks = recipe, store, remarks
        self.on_disk: dict[str, StudyFile | None] = {}
        """Id of a study -> its file; None where there is none, or one that cannot be read and will be written again."""
        self._searches: dict[tuple[object, ...], list[Study]] = {}  # by the question that they share

    def read(self, study: Study) -> StudyFile | None:
        """The study on disk; None when there is none, or one that cannot be read and will be written again.

        Raises ``UserError`` where the file alone had what happened: what was pruned or asked for, and how a search with
        a winner grew.
        """
        found = None
        try:
            found = self.store.study(study.id)
        except UserError as damage:
            had_winner = any(line.study == study.id for line in self.store.journal().of("selected"))
            if study.learns or had_winner:
                raise UserError(
                    f"{damage.message} How its search went stands in no other file.",
                    "Put a copy of the file back, or remove it: the search then begins anew from its records.",
                ) from damage
            self.remarks[study.id] = f"{damage.message} It is written again from the records."
        self.on_disk[study.id] = found
        self._searches.setdefault(study.question, []).append(study)
        return found

    def write(self, progress: StudyProgress, running: Container[str]) -> None:
        """Write a study if it changed. running: keys of the jobs that run."""
        study = progress.study
        on_disk = self.on_disk[study.id]
        content = progress.file(running, self.is_oracle(study))
        is_open = not content.confirm and not content.too_few
        if on_disk is not None and is_open and study.learns:
            # the winner of fewer trials stands until the added ones have ended
            content = content.model_copy(update={"winner": on_disk.winner, "confirm": on_disk.confirm})
        content = self._with_extension(study, content)
        # a smaller request never shrinks a study
        shrinks = on_disk is not None and (
            len(on_disk.trials) > len(content.trials) or len(on_disk.confirm) > len(content.confirm)
        )
        if content == on_disk or shrinks:
            return
        self.store.replace_study(study.id, on_disk, content)
        self.on_disk[study.id] = content

    def is_oracle(self, study: Study) -> bool:
        """Whether search cells of a study are, or were, opened for oracle selection."""
        on_disk = self.on_disk[study.id]
        return self.recipe.oracle or (on_disk is not None and on_disk.oracle)

    def require_no_mixed_request(self, study: Study) -> None:
        """Raise ``UserError`` for more trials and fewer seeds than a study has, or the reverse.

        A study never shrinks, so its file could not name the cells that such a sweep selects.
        """
        on_disk = self.on_disk[study.id]
        if on_disk is None or not on_disk.confirm or not on_disk.trials:
            return
        asked, has = (study.n_trials, self.recipe.seeds), (len(on_disk.trials), len(on_disk.confirm))
        most = (max(asked[0], has[0]), max(asked[1], has[1]))
        if most not in (asked, has):
            raise UserError(
                f"{study.method.name} on {study.task} has run here with --trials {has[0]} --seeds {has[1]}; "
                f"--trials {asked[0]} --seeds {asked[1]} asks for more of one and fewer of the other.",
                f"Ask for --trials {most[0]} --seeds {most[1]}, or use another --results.",
            )

    def _with_extension(self, study: Study, content: StudyFile) -> StudyFile:
        """The content with ``extended_from``: the size of the study when its test metrics were first seen.

        Four kinds of studies get it: one whose trials or confirm cells grew after that moment; one whose winner
        changed, also because a lost trial was run again; a further search that begins after test metrics of an earlier
        one were seen; and a study without its file that gets seeds beside those that were tested.
        """
        on_disk = self.on_disk[study.id]
        if on_disk is None:
            extension = self._extension_of_new(study, content)
        else:
            content = content.model_copy(update={"grid": [*dict.fromkeys((*on_disk.grid, *content.grid))]})
            extension = on_disk.extended_from
            grew = len(content.trials) > len(on_disk.trials) or len(content.confirm) > len(on_disk.confirm)
            changed = on_disk.winner not in (None, content.winner)
            if extension is None and (grew or changed) and self._tested(on_disk.confirm):
                extension = Extension(trials=len(on_disk.trials), confirm=len(on_disk.confirm))
        if extension is None:
            return content
        return content.model_copy(update={"extended_from": extension})

    def _extension_of_new(self, study: Study, content: StudyFile) -> Extension | None:
        """That of a study without a file."""
        earlier = []  # confirm cells of each earlier search of the same question
        for other in self._searches[study.question]:
            on_disk = self.on_disk[other.id]
            if other.search < study.search and on_disk is not None:
                earlier.append(on_disk.confirm)
        begins = all(trial.status != "done" for trial in content.trials)
        if begins and any(map(self._tested, earlier)):
            return Extension(searches=len(earlier))
        tested = self._tested(content.confirm)
        if 0 < tested < len(content.confirm):
            return Extension(trials=len(content.trials), confirm=tested)
        return None

    def _tested(self, confirm: Sequence[str]) -> int:
        """Number of confirm cells that were evaluated on held-out sets."""
        return sum(bool(self.store.evaluated(cell)) for cell in confirm)
