# docker build --tag pts-sync-worker:0.2.0-slim --build-arg REVISION="$(git rev-parse HEAD)" .
# docker build --tag pts-sync-worker:0.2.0-full --build-arg REVISION="$(git rev-parse HEAD)" --target full .
#
# slim is all that a night needs; full has Parquet exports and rosters from Oracle besides.
# Runs with a read-only root: docker run --read-only --tmpfs /tmp --volume pts:/data … sync
#
# Name the base image by its digest, so that it is the one you have looked at (docs/threat-model.md):
# --build-arg BASE=python:3.13-slim-trixie@sha256:…

ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements/core.lock requirements/build.lock requirements/
RUN python -m venv --without-pip /opt/pts-worker \
    && pip install --require-hashes --requirement requirements/build.lock \
    && pip --python /opt/pts-worker/bin/python install --only-binary :all: \
        --require-hashes --requirement requirements/core.lock
COPY pyproject.toml README.md ./
COPY migrations migrations
COPY worker worker
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && pip --python /opt/pts-worker/bin/python install --no-deps --no-index dist/*.whl \
    && /opt/pts-worker/bin/pts-worker --help

FROM build AS build-full
COPY requirements/parquet.lock requirements/oracle.lock requirements/
RUN pip --python /opt/pts-worker/bin/python install --only-binary :all: \
        --require-hashes --requirement requirements/parquet.lock --requirement requirements/oracle.lock

FROM ${BASE} AS base
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="pts-sync-worker" \
      org.opencontainers.image.description="Keeps a local, provable copy of PTS access restrictions" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Nothing in the image installs anything any more.
RUN pip uninstall --yes --root-user-action=ignore pip \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
ENV PATH=/opt/pts-worker/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONFAULTHANDLER=1 \
    HOME=/data
WORKDIR /data
VOLUME ["/data"]
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
# The worker is the first process and handles SIGTERM itself.
ENTRYPOINT ["pts-worker"]
CMD ["--help"]
# A batch has no health to ask for; some builders would inherit a check.
HEALTHCHECK NONE

FROM base AS full
COPY --from=build-full /opt/pts-worker /opt/pts-worker

# The last stage is what a build without --target makes.
FROM base
COPY --from=build /opt/pts-worker /opt/pts-worker
