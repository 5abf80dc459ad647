"""The glossary of a report."""

from collections.abc import Mapping

from reports.judge.claims.rules import ASSUMED

#: what the terms of a report mean; page and report.md list them, and the page shows one where it is used
TERMS: Mapping[str, str] = {
    "alpha": "Weight of the fine-tuned model in WiSE-FT: 0 is the pretrained model, 1 the fine-tuned one.",
    "CAR-FT": "Fine-tuning with one more term, which holds the model's context distribution near that of the "
    "pretrained model.",
    "cell": "One fully specified run: task, method, hyperparameters, seed, training recipe.",
    "claim": "A statement of the paper, or about it, with the rule that decides it.",
    "confirm seed": "A fresh seed for training the winner of a search again. Test numbers come from these.",
    "context": "How an image shows its subject, in the words of a prompt, such as “a sketch of”.",
    "context recognition": "Of each context the share of its images whose context the model names; their mean over "
    "contexts. Chance is one in K contexts.",
    "FT": "Plain fine-tuning: all weights of the image encoder, cross-entropy alone.",
    "group": "Images that are not independent, such as those of one drawing. A group is one observation.",
    "head": "The class head gives the logits of the classes, the context head those of the contexts.",
    "Holm's correction": "A correction of p values for the number of parts that are tested at once.",
    "ID test": "The test set of the distribution that was trained on (in distribution).",
    "interval": "95 % interval: in 95 of 100 repetitions such an interval holds the true value.",
    "KL weight": "Weight of CAR-FT's additional term. At 0, CAR-FT is plain fine-tuning.",
    "margin": "The size of a difference that a claim calls relevant. That of a shipped claim was fixed in advance.",
    "null check": "What must hold by construction, such as CAR-FT with weight 0 predicting what FT does.",
    "OOD": "Out of distribution: sets that differ from the training data, such as sketches.",
    "power": f"How often a claim would be decided if the truth were {100 * ASSUMED:g} points beyond each margin.",
    "points": "Percentage points of accuracy.",
    "reading": "One interpretation of what the paper's abstract leaves open, such as the direction of the KL term.",
    "scale": "What was run: miniature (drawings, a tiny CLIP), paper (the paper's data sets) or own (your images). "
    "Scales are never pooled.",
    "study": "The search for the hyperparameters of one method on one task.",
    "suite": "A test set under a shift of distribution, such as renditions.",
    "top-1": "Accuracy: the share of images whose most probable class is the right one.",
    "trial": "One setting of the hyperparameters that a search trains and scores on validation.",
    "tuning luck": "Another search could have found another winner. With one search a study, intervals leave it out.",
    "unsealed": "Evaluated on the test set and the suites, which searches never see.",
    "verdict": "The answer to a claim: reproduced, contradicted, no difference above a margin, inconclusive or not "
    "run. From one search the first three are suggested. Evidence that is in doubt (missing or unsound) or not "
    "comparable (the sides differ in more than the method) is inconclusive.",
    "visible from": "The smallest true difference that the experiment would show in 80 % of repetitions.",
    "WiSE-FT": "The mean of the weights of the pretrained and the fine-tuned model, weighted by alpha.",
    "world": "Images, tasks, suites and a pretrained model that belong together: drawings or photographs.",
    "worst": "Of several parts that all must hold, the one whose interval lies least on the claim's side.",
    "zero-shot": "The pretrained model as it is, with classes given as prompts.",
}
