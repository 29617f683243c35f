"""Peers side by side: `python -m bench --help`."""
