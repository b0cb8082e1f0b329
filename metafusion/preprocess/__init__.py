"""Preprocessing of single subjects and recordings: nothing here sees two of them at once."""
