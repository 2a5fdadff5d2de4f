"""sessionbase: the database and HTTP API of an AI-session viewer."""

from importlib.metadata import version

__version__ = version("sessionbase")
