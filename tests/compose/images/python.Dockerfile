# Stands in for python:3.13-slim-trixie: Debian's Python, and a folder with the packages.
# The build context is a folder with the wheels of constraints.txt.
FROM sessionbase-test/debian:bookworm
COPY . /wheels
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels
