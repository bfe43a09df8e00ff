# Three images of rayon; docs/containers.md says how they are built, run and configured.
#
#   docker build --target flows-cpu  -t rayon/flows-cpu  .     Metaflow's pods: all packages, none of this repository's
#   docker build --target flows-cuda -t rayon/flows-cuda .     code, which Metaflow ships itself; the latter for GPUs
#   docker build --target app        -t rayon/app        .     the app, with the code
#
# The digest is the one that public repositories name for this tag; it was not pulled where this was written. It is an
# index of several platforms. To follow the tag: docker buildx imagetools inspect python:3.11.14-slim-bookworm
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

FROM ${PYTHON_IMAGE} AS base
# All that is written goes to /cache and /tmp: the root file system may be read-only.
ENV HOME=/cache \
    XDG_CACHE_HOME=/cache/xdg \
    XDG_CONFIG_HOME=/cache/xdg \
    MPLCONFIGDIR=/cache/matplotlib \
    METAFLOW_ARTIFACT_LOCALROOT=/tmp \
    METAFLOW_CLIENT_CACHE_PATH=/tmp/metaflow_client \
    METAFLOW_CLIENT_CACHE_MAX_SIZE=1000 \
    METAFLOW_TEMPDIR=/tmp \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN groupadd --gid 10001 rayon \
    && useradd --uid 10001 --gid 10001 --home-dir /cache --no-create-home --shell /usr/sbin/nologin rayon \
    && install --directory --owner=10001 --group=10001 /cache /work

# torch first: it is the largest and changes least. The files of PyTorch's CPU index have no hash here, see cpu.txt.
FROM base AS packages-cpu
COPY deploy/requirements/cpu.txt /requirements/
RUN pip install --no-deps --index-url https://download.pytorch.org/whl/cpu --requirement /requirements/cpu.txt
COPY deploy/requirements/base.lock /requirements/
RUN pip install --no-deps --require-hashes --requirement /requirements/base.lock && pip check

FROM base AS packages-cuda
COPY deploy/requirements/cuda.lock /requirements/
RUN pip install --no-deps --require-hashes --requirement /requirements/cuda.lock
COPY deploy/requirements/base.lock /requirements/
RUN pip install --no-deps --require-hashes --requirement /requirements/base.lock && pip check

# Metaflow unpacks the code into the working directory, and would otherwise install boto3 and requests at each start.
FROM packages-cpu AS flows-cpu
ENV METAFLOW_SKIP_INSTALL_DEPENDENCIES=1
WORKDIR /work
USER 10001:10001

FROM packages-cuda AS flows-cuda
# What NVIDIA's container runtime looks at; the driver is the node's.
ENV METAFLOW_SKIP_INSTALL_DEPENDENCIES=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_VISIBLE_DEVICES=all
WORKDIR /work
USER 10001:10001

FROM packages-cpu AS wheel
WORKDIR /source
COPY LICENSE README.md pyproject.toml ./
COPY src src
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM packages-cpu AS app
ENV METAFLOW_DATASTORE_SYSROOT_LOCAL=/cache
COPY --from=wheel /wheels /wheels
RUN pip install --no-deps /wheels/*.whl
WORKDIR /app
COPY configs configs
COPY flows flows
COPY app app
# What flows that run here keep as their code package; what they import is the wheel, of the same files.
COPY src/rayon src/rayon
# An experiment's relative paths begin at /app; what is written there lands in /cache.
RUN ln -s /cache/rayon .rayon && ln -s /cache/data data
USER 10001:10001
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
CMD ["python", "app/app.py", "--host", "0.0.0.0", "--experiment", "configs/demo.yaml"]
