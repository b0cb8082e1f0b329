"""Meta Fusion: a cohort of fusion models for multimodal biomedical data."""

__version__ = "0.1.0"
