"""The page of a family of one's own with long names, on a desk and on phones: nothing hides or cuts a name."""

from __future__ import annotations

import pytest

from carft.data.folder.named import NamedTask
from carft.store.records import Store
from reports.build import sources_of
from reports.figures.figure import draw_figures
from reports.render.page import Content
from tests.reports.render.conftest import PLAN
from tests.support.browsing import IN_A_BROWSER, Open
from tests.support.folder import keep_tasks
from tests.support.planted import plant

pytestmark = IN_A_BROWSER
NAMES = (
    "lesions-of-the-face-and-neck-second-reading",
    "lesions-of-the-trunk",
    "hands",
    "lesions-of-arms-and-legs-under-polarised-light",
    "feet",
    "dermatoscopy_of_nails_and_adjacent_skin",
)
DOMAINS = ("clinic-north", "home-photographs", "outpatient-centre-south-2021")


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Content:
    """Six tasks of three domains, with planted results."""
    root = tmp_path_factory.mktemp("family")
    prompts = tuple(f"a picture from {domain} of a {{}}." for domain in DOMAINS)
    words = ("basal cell carcinoma", "melanocytic naevus", "seborrhoeic keratosis")
    tasks = [NamedTask(f"skin-lesions/{name}", "v", DOMAINS[:2], DOMAINS[2:], words, prompts) for name in NAMES]
    keep_tasks(store := Store(root / "results"), tasks)
    plant(store, [task.name for task in tasks], PLAN, trials=2)
    sources = sources_of(store)
    drawn = draw_figures(sources.tables(), sources.evidence.scale, root / "figures")
    return Content.of(sources, drawn, "fingerprint", {})


#: how many lines each name of a task takes in the table of cells
LINES = """() => [...document.querySelectorAll("table[data-table=cells] tbody tr td:nth-of-type(1)")]
    .filter(td => td.textContent.includes("skin-lesions/"))
    .map(td => td.getClientRects()[0].height / parseFloat(getComputedStyle(td).lineHeight))"""


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_names_are_whole_nothing_is_wider_than_the_screen_and_the_family_comes_first(
    family: Content, open_page: Open, width: int
) -> None:
    page = open_page(family)
    page.set_viewport_size({"width": width, "height": 800})
    page.wait_for_selector("#figure-differences img[src]")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert all(lines < 2 for lines in page.evaluate(LINES))
    first, _, rest = page.inner_text("body").partition("All 6 tasks of skin-lesions gain")
    assert rest and not any(name in first for name in NAMES if "-" in name)
