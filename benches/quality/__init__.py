"""Data sets of benches/quality.py."""
