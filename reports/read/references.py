"""Numbers that others report at paper scale, with their sources. They are shown, never mixed with measured ones.

Rows of two pipelines of training and evaluation differ by points that no method has earned, so a difference is taken
within one alone. The column ``pipeline`` names it. Seven rows of TRACER's Table 2 copy values with one decimal,
probably of Lipsum-FT's paper, and belong with the zero-shot of its code. They are stored with one decimal, without
their deviations; the column ``caveat`` says why.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

import pandas as pd

from carft.catalog.resolve import QUICK
from carft.config.cell import DIGEST_MARK

SHOWN_SETS = ("ImageNet", "ImageNet-V2", "ImageNet-R", "ImageNet-A", "ImageNet-Sketch")
SHOWN_BACKBONE = "CLIP ViT-B/16"
TEST, SHIFTS = SHOWN_SETS[:1], SHOWN_SETS[1:]
#: method of this project -> its name in the reference numbers
NAMES: Mapping[str, str] = {
    "ft": "FT",
    "lp_ft": "LP-FT",
    "l2_sp": "L2-SP",
    "kd": "Static SD (KD)",
    "flyp": "FLYP",
    "lipsum_ft": "Lipsum-FT",
    "car_ft": "CAR-FT",
    "wise_ft(ft) alpha 0.5": "WiSE-FT",
}


def reference_numbers() -> pd.DataFrame:
    """All rows: table, dataset, method, backbone, metric, value (in %), source, confidence, caveat, pipeline.

    caveat and pipeline may be empty.
    """
    with files("reports.read").joinpath("reference_numbers.csv").open(encoding="utf-8") as stream:
        return pd.read_csv(stream).fillna({"caveat": "", "pipeline": ""})


@cache
def _pipelines() -> Mapping[str, pd.DataFrame]:
    """Pipeline -> its values in %, a row for each method and a column for each set; in the order of the rows."""
    rows = reference_numbers()
    rows = rows[rows["pipeline"] != ""].assign(
        method=rows["method"].str.replace(r"^Zero-shot.*", "Zero-shot", regex=True)
    )
    return {
        str(name): of_pipeline.pivot(index="method", columns="dataset", values="value")
        for name, of_pipeline in rows.groupby("pipeline", sort=False)
    }


def _gains(method: str, sets: Sequence[str] = SHIFTS) -> dict[str, float]:
    """Pipeline -> a method minus plain fine-tuning, mean over sets, a share of 1; those that have the numbers alone."""
    gains = {}
    for name, values in _pipelines().items():
        ours, tuned = values.reindex(index=[method, "FT"], columns=list(sets)).to_numpy().tolist()
        gain = sum(ours) / len(sets) / 100 - sum(tuned) / len(sets) / 100
        if not math.isnan(gain):
            gains[name] = gain
    return gains


def reported_gain(method: str, sets: Sequence[str] = SHIFTS) -> tuple[float, str]:
    """A method, or ``Zero-shot``, minus plain fine-tuning on ImageNet's sets, a share of 1, and its pipeline.

    method: as the reference numbers name it. (NaN, "") where no pipeline has both.
    """
    for pipeline, gain in _gains(method, sets).items():
        return gain, pipeline
    return math.nan, ""


def reported_share(method: str) -> float:
    """The share of ImageNet's forgetting that a method gives back; NaN where no pipeline has all three numbers."""
    lost = _gains("Zero-shot")
    for pipeline, gain in _gains(method).items():
        if pipeline in lost:
            return gain / lost[pipeline]
    return math.nan


#: data set of DomainBed -> its title in the reference tables
DOMAINBED = {
    "vlcs": "VLCS",
    "pacs": "PACS",
    "officehome": "OfficeHome",
    "terraincognita": "TerraIncognita",
    "domainnet": "DomainNet",
}
#: backbone of the reference tables -> (model, weights) that it was measured with
BACKBONES = {
    "CLIP ViT-B/16": ("ViT-B-16", "openai"),
    "CLIP ViT-B/16 (HF)": ("ViT-B-16", "openai"),
}
#: sha256 of OpenAI's own files, which open_clip has in the addresses that it downloads them from
OPENAI_FILES = {"ViT-B-16": "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"}


def same_start(model: str, pretrained: str, known: tuple[str, str]) -> bool:
    """Whether model and weights are those of a backbone: by name, or OpenAI's own file with OpenAI's activation."""
    if (model, pretrained) == known:
        return True
    _, mark, digest = pretrained.rpartition(DIGEST_MARK)
    name, weights = known
    is_openai = weights == "openai" and model == f"{name}{QUICK}"
    return is_openai and mark != "" and digest == OPENAI_FILES.get(name)
