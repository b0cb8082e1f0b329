"""What people use today, on the same splits: one module a family, each with ``train``."""
