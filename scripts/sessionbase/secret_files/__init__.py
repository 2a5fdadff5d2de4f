"""The files with the secrets of a deployment in containers: generated, checked, installed."""
