# The image of smshook. docs/how-to/run-in-a-container.md shows how to use it, and
# docs/decisions/0008-the-image.md gives the reasons. Build it with: docker build -t smshook .

FROM debian:trixie-slim AS base

# The current version of the suite has the security fixes.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log


FROM base AS build

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src

# Two environments: the build tools stay here, the other one goes into the image.
COPY requirements/build.txt requirements/run.txt requirements/
RUN python3 -m venv /opt/build \
    && python3 -m venv --without-pip /opt/smshook \
    && /opt/build/bin/pip install --no-cache-dir --no-compile --require-hashes \
        --only-binary :all: --no-deps -r requirements/build.txt \
    && /opt/build/bin/pip --python /opt/smshook/bin/python install --no-cache-dir \
        --require-hashes --only-binary :all: --no-deps -r requirements/run.txt

COPY LICENSE README.md pyproject.toml ./
COPY clients/python/smshook_client clients/python/smshook_client/
COPY core core/
COPY httpd httpd/
COPY journal journal/
COPY receiver receiver/
COPY rehearsal rehearsal/
COPY routes routes/
COPY server server/
COPY sinks sinks/
RUN /opt/build/bin/pip wheel --no-cache-dir --no-build-isolation --no-deps --no-index \
        --wheel-dir /wheels . \
    && /opt/build/bin/pip --python /opt/smshook/bin/python install --no-cache-dir \
        --no-deps --no-index /wheels/smshook-*.whl


FROM base

COPY --from=build /opt/smshook /opt/smshook

# A named volume takes its owner and mode from this folder.
RUN install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/smshook

# The configuration is on the volume, so its relative paths (journal, keys, files of sinks) are, too.
# The listeners use all addresses of the container. `-p` chooses the address of the host.
ENV PATH=/opt/smshook/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    SMSHOOK_CONFIG=/var/lib/smshook/smshook.yaml \
    SMSHOOK_SERVER__LISTEN=0.0.0.0:8080 \
    SMSHOOK_SERVER__ADMIN_LISTEN=0.0.0.0:8081

# A number, so that orchestrators see that it is not root.
USER 10001:10001
WORKDIR /var/lib/smshook
VOLUME ["/var/lib/smshook"]
EXPOSE 8080 8081

# The service stops in order within 10 seconds, also as process 1.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 \
    CMD ["smshook", "healthcheck"]
ENTRYPOINT ["smshook"]
CMD ["serve"]

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="smshook" \
    org.opencontainers.image.description="Self-hosted webhook receiver and event router for SMS-number providers" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
