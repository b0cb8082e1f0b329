"""Names of methods and measures, and what the names say."""

import re

INDEPENDENT = "independent_"
STUDENT = "student_"
IS_STUDENT = re.compile(rf"(?:{INDEPENDENT})?{STUDENT}\d+$")
"""The name of a student as a method; no modality's name makes another method look like one."""


HIGHER_IS_BETTER = {
    "accuracy": True,
    "balanced_accuracy": True,
    "roc_auc": True,
    "log_loss": False,
    "sensitivity": True,
    "specificity": True,
    "brier": False,
    "ece": False,
    "itr_bits": True,
    "mse": False,
    "mae": False,
    "r2": True,
}
LABELS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "roc_auc": "area under the ROC curve",
    "log_loss": "cross-entropy (nats)",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "itr_bits": "information transfer (bits per trial)",
    "mse": "mean squared error",
    "mae": "mean absolute error",
    "r2": "R²",
}
LIMITS = {
    "log_loss": (0, float("inf")),
    "brier": (0, 2),
    "itr_bits": (0, float("inf")),
    "mse": (0, float("inf")),
    "mae": (0, float("inf")),
    "r2": (-float("inf"), 1),
}
"""Between which a measure lies; 0 and 1 unless it stands here."""


def family_of(method: str) -> str:
    """Return the family of a method, by its name.

    Examples
    --------
    >>> family_of("independent_meta_fusion"), family_of("logistic_regression_csf"), family_of("modality_csf")
    ('independent', 'linear', 'network')
    """
    if IS_STUDENT.match(method):
        return "independent_student" if method.startswith(INDEPENDENT) else "student"
    if method.startswith(INDEPENDENT):
        return "independent"
    if method.startswith(("logistic_regression", "ridge_regression")):
        return "linear"
    if method.startswith("tuned_") or method in ("super_learner", "tabm"):
        return "tuned"
    if method.startswith("cooperative_"):
        return "cooperative"
    if method == "gradient_boosting":
        return "trees"
    if method in ("prior", "oracle"):
        return "reference"
    if method.startswith(("modality_", "early_fusion", "late_fusion")):
        return "network"
    return "cohort"
