# Images of the API (`--target api`: no decoders) and of the worker (`--target worker`: no GraphQL, no token library).
# Give a digest for releases: --build-arg PYTHON_IMAGE=python@sha256:...
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /source
COPY requirements/build.txt requirements/
RUN python -m pip install --no-cache-dir --require-hashes --only-binary=:all: --requirement requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY service/ service/
COPY schema/ schema/
COPY resolvers/ resolvers/
COPY indexes/ indexes/
COPY clients/js/src/ clients/js/src/
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM ${PYTHON_IMAGE} AS api-packages
COPY requirements/api.txt /requirements/
RUN python -m venv --without-pip /opt/media && \
    python -m pip --python /opt/media install --no-cache-dir --require-hashes --only-binary=:all: \
        --requirement /requirements/api.txt
COPY --from=wheel /wheels/ /wheels/
RUN python -m pip --python /opt/media install --no-cache-dir --no-index --no-deps --find-links /wheels \
        media-metadata-service

FROM ${PYTHON_IMAGE} AS worker-packages
COPY requirements/worker.txt /requirements/
RUN python -m venv --without-pip /opt/media && \
    python -m pip --python /opt/media install --no-cache-dir --require-hashes --only-binary=:all: \
        --requirement /requirements/worker.txt
COPY --from=wheel /wheels/ /wheels/
RUN python -m pip --python /opt/media install --no-cache-dir --no-index --no-deps --find-links /wheels \
        media-metadata-service

FROM ${PYTHON_IMAGE} AS common
RUN groupadd --gid 10001 media && \
    useradd --uid 10001 --gid media --no-log-init --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin media
# The root file system may be read-only: only TMPDIR is ever written to.
ENV PATH=/opt/media/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    TMPDIR=/tmp \
    MEDIA_HTTP__HOST=0.0.0.0
WORKDIR /
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "service"]
LABEL org.opencontainers.image.title="media-metadata-service" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM common AS worker
LABEL org.opencontainers.image.description="Worker: decodes in a jail; no GraphQL, no token library"
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends libseccomp2 tesseract-ocr && rm -rf /var/lib/apt/lists/*
COPY --from=worker-packages /opt/media/ /opt/media/
ENV MEDIA_WORKER__METRICS_PORT=9090
USER 10001:10001
EXPOSE 9090
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ['MEDIA_WORKER__METRICS_PORT']}/healthz\", timeout=2)"]
CMD ["worker"]

FROM common AS api
LABEL org.opencontainers.image.description="GraphQL API: signs delivery URLs; decodes nothing"
COPY --from=api-packages /opt/media/ /opt/media/
ENV MEDIA_HTTP__PORT=8080
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ['MEDIA_HTTP__PORT']}/healthz\", timeout=2)"]
CMD ["api"]
