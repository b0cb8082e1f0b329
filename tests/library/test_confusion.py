"""Confusion by hand, information in closed form, and what the ensemble uses."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, confusion_matrix, roc_auc_score

from metafusion import figures
from metafusion.config.models import Experiment
from metafusion.confusion import confusion_table
from metafusion.figures import Words, save
from metafusion.metrics import measure
from metafusion.predictions import against_truth
from metafusion.summary import usage_table

WORDS = Words("Odours", "accuracy", simulated=False)
CLASSES = ["A", "B", "C"]


def logits_of(answers):
    """Logits of answers that are class numbers."""
    return np.eye(3)[answers] * 2.0


def predictions_of(answers, method="meta_fusion", seeds=1, part="test"):
    """The same answers for samples 0, 1, ... in every seed."""
    table = pd.DataFrame(np.tile(logits_of(answers), (seeds, 1)), columns=[f"logit_{name}" for name in CLASSES])
    table.insert(0, "method", method)
    table.insert(1, "seed", np.repeat(np.arange(seeds), len(answers)))
    table.insert(2, "sample", np.tile([f"t{place}" for place in range(len(answers))], seeds))
    table.insert(3, "part", part)
    return table


def samples_of(targets):
    return pd.DataFrame(
        {"sample": [f"t{place}" for place in range(len(targets))], "target": [CLASSES[t] for t in targets]}
    )


def matrix(table, value, method="meta_fusion"):
    here = table[table["method"] == method]
    return here.pivot(index="true", columns="given", values=value).loc[CLASSES, CLASSES].to_numpy()


def test_counts_are_pooled_over_seeds_and_each_sample_is_one():
    random = np.random.default_rng(0)
    true, answers = random.integers(0, 3, 40), random.integers(0, 3, 40)
    table = confusion_table(against_truth(predictions_of(answers, seeds=3), samples_of(true)))
    expected = confusion_matrix(true, answers)
    assert matrix(table, "count").tolist() == (3 * expected).tolist()
    assert matrix(table, "rate") == pytest.approx(confusion_matrix(true, answers, normalize="true"))
    assert matrix(table, "samples")[:, 0].tolist() == np.bincount(true).tolist()


@pytest.mark.parametrize(
    ("true", "answers", "bits"),
    [
        # Always right, of three classes alike: log2 3. Always the next one: the same information.
        ([0, 1, 2] * 4, [0, 1, 2] * 4, np.log2(3)),
        ([0, 1, 2] * 4, [1, 2, 0] * 4, np.log2(3)),
        # Always the same answer, and answers that are independent of the class.
        ([0, 1, 2] * 4, [1] * 12, 0.0),
        ([0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 2] * 3, 0.0),
        # A is told from the others, which are not told apart: H(1/3) bits.
        ([0, 1, 2] * 4, [0, 1, 1] * 4, np.log2(3) - 2 / 3),
    ],
)
def test_the_information_is_that_of_the_table(true, answers, bits):
    table = confusion_table(against_truth(predictions_of(answers), samples_of(true)))
    assert table["information_bits"].to_numpy() == pytest.approx(bits, abs=1e-12)


def test_only_the_test_part_counts_and_only_answers():
    known = predictions_of([0, 1, 2])
    learnt = predictions_of([2, 2, 2], part="train")
    diverged = predictions_of([0, 1, 2], method="early_fusion").assign(logit_A=np.nan)
    table = confusion_table(against_truth(pd.concat([known, learnt, diverged]), samples_of([0, 1, 1])))
    assert set(table["method"]) == {"meta_fusion"}
    assert matrix(table, "count").tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    # C was never tested.
    assert np.isnan(matrix(table, "rate")[2]).all()


def test_the_figure_of_what_is_answered_has_a_row_for_a_class_that_was_never_tested(tmp_path):
    answered = against_truth(predictions_of([0, 1, 2, 1], seeds=2), samples_of([0, 1, 1, 1]))
    figure = figures.answers(answered, confusion_table(answered), WORDS)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["1.00", "0.00", "0.00", "0.00", "0.67", "0.33", "0.00", "0.00", "0.00"]
    assert "8 test predictions of 4 samples, 2 seeds" in figure.get_suptitle().replace("\n", " ")
    save(figure, tmp_path / "figure.svg")


def test_answers_for_the_test_part_stand_beside_the_truth():
    both = pd.concat([predictions_of([1, 0], part="train"), predictions_of([2, 1])])
    # The samples are in another order than the answers.
    found = against_truth(both, samples_of([0, 1, 2]).iloc[::-1])
    assert list(found.columns) == ["method", "seed", "sample", "true", "logit_A", "logit_B", "logit_C"]
    assert found[["sample", "true"]].to_numpy().tolist() == [["t0", "A"], ["t1", "B"]]
    assert found.iloc[:, 4:].to_numpy().tolist() == [[0, 0, 2], [0, 2, 0]]


def test_the_methods_are_those_of_interest_in_their_order():
    names = [
        "modality_lfp",
        "logistic_regression_lfp",
        "prior",
        "late_fusion",
        "independent_meta_fusion",
        "meta_fusion",
    ]
    both = pd.concat([predictions_of([0, 1, 2], method=name) for name in names])
    table = confusion_table(against_truth(both, samples_of([0, 1, 2])))
    expected = ["meta_fusion", "late_fusion", "modality_lfp", "logistic_regression_lfp"]
    assert list(dict.fromkeys(table["method"])) == expected


def test_regression_has_an_empty_table_and_a_figure_that_says_so(tmp_path):
    numbers = pd.DataFrame({"method": "meta_fusion", "seed": 1, "sample": ["t0"], "part": "test", "prediction": 0.5})
    table = confusion_table(against_truth(numbers, samples_of([0])))
    assert table.empty
    save(figures.confusions(table, 1, WORDS), tmp_path / "figure.svg")
    assert "no confusion matrix" in (tmp_path / "figure.svg").read_text()


def test_the_figure_has_a_panel_a_method_but_for_linear_models_of_one_modality(tmp_path):
    names = ["meta_fusion", "modality_lfp", "logistic_regression", "logistic_regression_lfp"]
    both = pd.concat([predictions_of([0, 1, 1], method=name, seeds=2) for name in names])
    figure = figures.confusions(confusion_table(against_truth(both, samples_of([0, 1, 2]))), 2, WORDS)
    titles = [axes.get_title().split("\n")[0] for axes in figure.axes if axes.get_title()]
    assert titles == names[:3]
    save(figure, tmp_path / "figure.svg")
    assert "6 test answers for 3 samples, 2 seeds" in (tmp_path / "figure.svg").read_text()


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_areas_and_brier_scores_are_scikit_learns(classes):
    random = np.random.default_rng(classes)
    targets = np.r_[np.arange(classes), random.integers(0, classes, 30)]
    # Rounded, so that there are ties.
    outputs = random.standard_normal((len(targets), classes)).round(1)
    said = softmax(outputs, axis=1)
    if classes == 2:
        area, brier = roc_auc_score(targets, said[:, 1]), brier_score_loss(targets, said[:, 1])
    else:
        area = roc_auc_score(targets, said, multi_class="ovr")
        brier = brier_score_loss(targets, said, labels=range(classes))
    assert measure("roc_auc", outputs, targets) == pytest.approx(area, abs=1e-14)
    assert measure("brier", outputs, targets) == pytest.approx(brier, abs=1e-14)


def accuracy_of(share, classes, samples=100):
    """Logits and targets with so many right answers."""
    right = round(share * samples)
    targets = np.arange(samples) % classes
    answers = np.where(np.arange(samples) < right, targets, (targets + 1) % classes)
    return np.eye(classes)[answers], targets


@pytest.mark.parametrize(
    ("share", "classes", "bits"),
    [
        (1.0, 2, 1.0),
        (1.0, 4, 2.0),
        # Wolpaw et al. 2002 plot these: two classes at 90 %, four at 90 %.
        (0.9, 2, 1 + 0.9 * np.log2(0.9) + 0.1 * np.log2(0.1)),
        (0.9, 4, 2 + 0.9 * np.log2(0.9) + 0.1 * np.log2(0.1 / 3)),
        # At chance and below it.
        (0.5, 2, 0.0),
        (0.25, 4, 0.0),
        (0.1, 4, 0.0),
        (0.0, 2, 0.0),
    ],
)
def test_the_information_transfer_is_wolpaws(share, classes, bits):
    outputs, targets = accuracy_of(share, classes)
    assert measure("itr_bits", outputs, targets) == pytest.approx(bits, abs=1e-12)


def test_the_information_transfer_is_the_mutual_information_where_errors_are_even():
    # Four classes alike, right in 7 of 10, each wrong class once: what Wolpaw's formula supposes.
    true = np.repeat(np.arange(3), 8)
    answers = np.concatenate([[c] * 6 + [(c + 1) % 3, (c + 2) % 3] for c in range(3)])
    table = confusion_table(against_truth(predictions_of(answers), samples_of(true)))
    assert measure("itr_bits", logits_of(answers), true) == pytest.approx(table["information_bits"].iloc[0])


def test_the_information_transfer_is_there_on_request_only():
    base = {"title": "", "task": "classification", "source": {"kind": "ad_data"}, "representations": {"csf": ["raw"]}}
    assert "itr_bits" not in Experiment.model_validate(base).metrics
    assert Experiment.model_validate(base | {"metrics": ["itr_bits"]}).metrics == ["itr_bits"]
    with pytest.raises(ValueError, match="'itr_bits' does not fit regression"):
        Experiment.model_validate(base | {"task": "regression", "metrics": ["itr_bits"]})


STUDENTS = pd.DataFrame(
    {
        "student": [0, 1, 2, 3],
        "lfp": ["raw", "raw", "absent", "pca5"],
        "spikes": ["raw", "absent", "raw", "raw"],
    }
)


def test_weights_are_summed_by_representation_and_averaged_over_seeds(tmp_path):
    members = pd.DataFrame(
        [
            (1, "meta_fusion", 0, 3.0),
            (1, "meta_fusion", 2, 1.0),
            (2, "meta_fusion", 1, 0.5),
            (2, "meta_fusion", 0, 0.5),
            (1, "independent_meta_fusion", 2, 1.0),
            (2, "independent_meta_fusion", 2, 1.0),
            (1, "best_single", 3, 1.0),
        ],
        columns=["seed", "method", "student", "weight"],
    )
    table = usage_table(members, STUDENTS, ["lfp", "spikes"])
    lfp = table[(table["method"] == "meta_fusion") & (table["modality"] == "lfp")].set_index("representation")
    # Seed 1: raw 3/4, absent 1/4. Seed 2: raw 1.
    assert lfp["weight"].to_dict() == pytest.approx({"raw": 0.875, "absent": 0.125, "pca5": 0.0})
    assert lfp["se"].to_dict() == pytest.approx({"raw": 0.125, "absent": 0.125, "pca5": 0.0})
    assert lfp["chosen"].to_dict() == {"raw": 2, "absent": 1, "pca5": 0}
    assert lfp["students"].to_dict() == {"raw": 0.5, "absent": 0.25, "pca5": 0.25}
    assert table.groupby(["method", "modality"])["weight"].sum().to_numpy() == pytest.approx(1)
    spikes = table[(table["method"] == "meta_fusion") & (table["modality"] == "spikes")].set_index("representation")
    assert spikes["weight"].to_dict() == pytest.approx({"raw": 0.75, "absent": 0.25})
    save(figures.usage(table, WORDS), tmp_path / "figure.svg")
    assert "over 2 seeds" in (tmp_path / "figure.svg").read_text()
