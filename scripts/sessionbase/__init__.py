"""sessionbase: the system of record behind an AI-session viewer."""

from importlib.metadata import version

__version__ = version("sessionbase")
