# The image of smshook. How to use it: docs/how-to/run-in-a-container.md; why it is made like this:
# docs/decisions/0008-the-image.md. Build it with: docker build -t smshook .

FROM debian:trixie-slim AS base

# Whatever version the suite has now is the one with the security fixes.
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

# Two environments: what builds stays here, the other goes into the image.
COPY requirements/build.txt requirements/run.txt requirements/
RUN python3 -m venv /opt/build \
    && python3 -m venv --without-pip /opt/smshook \
    && /opt/build/bin/pip install --no-cache-dir --no-compile --require-hashes \
        --only-binary :all: --no-deps -r requirements/build.txt \
    && /opt/build/bin/pip --python /opt/smshook/bin/python install --no-cache-dir \
        --require-hashes --only-binary :all: --no-deps -r requirements/run.txt

COPY LICENSE README.md pyproject.toml ./
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

# A named volume takes over owner and mode from here.
RUN install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/smshook

# The configuration is on the volume too: its relative paths (journal, files of sinks) then are.
# Inside, only every address can be published; which one of the host is said by `-p`.
ENV PATH=/opt/smshook/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    SMSHOOK_CONFIG=/var/lib/smshook/smshook.yaml \
    SMSHOOK_SERVER__LISTEN=0.0.0.0:8080 \
    SMSHOOK_SERVER__ADMIN_LISTEN=0.0.0.0:8081

# A number, so that it can be seen not to be root.
USER 10001:10001
WORKDIR /var/lib/smshook
VOLUME ["/var/lib/smshook"]
EXPOSE 8080 8081

# It ends in order by itself, as process 1 too, within 10 seconds.
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
