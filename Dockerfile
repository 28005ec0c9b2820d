# The images of Daedalus, one target each: collector, writer, sync, supervisor, and simulator for the tests.
#
# <service>-requirements holds third-party packages only, /opt/daedalus/app holds our own code only: after a change of the
# code the large layer stays where it is, in the cache, on the disk and in a registry.
ARG BASE=python:3.13-slim-trixie

# --- what the images are built with -----------------------------------------------------------------------------------
FROM ${BASE} AS build
ENV UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_NO_PROGRESS=1 UV_PYTHON=/opt/daedalus
COPY compose/requirements-build.txt /
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --quiet --disable-pip-version-check --root-user-action=ignore --require-hashes -r /requirements-build.txt \
    && python3 -m venv --without-pip /opt/daedalus

# --- third-party packages of each service -------------------------------------------------------------------------------
FROM build AS collector-requirements
COPY services/collector/requirements.txt /
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --require-hashes --no-deps -r /requirements.txt \
    && rm -rf /opt/daedalus/lib/python*/site-packages/ccxt/test

FROM build AS writer-requirements
COPY services/writer/requirements.txt /
# Arrow's headers, tests and clients for other protocols are half of its wheel; the writer only writes Parquet.
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --require-hashes --no-deps -r /requirements.txt \
    && cd /opt/daedalus/lib/python*/site-packages/pyarrow \
    && rm -rf tests include src *flight*

FROM build AS sync-requirements
COPY services/sync/requirements.txt /
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --require-hashes --no-deps -r /requirements.txt

FROM build AS supervisor-requirements
COPY services/supervisor/requirements.txt /
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --require-hashes --no-deps -r /requirements.txt

# --- our own code: uv builds the distributions itself and fetches nothing ------------------------------------------------
FROM build AS code
COPY shared /source/shared
ENV UV_OFFLINE=1 UV_NO_CACHE=1
RUN uv pip install --no-deps --target /opt/daedalus/app /source/shared

FROM code AS collector-code
COPY services/collector /source/collector
RUN uv pip install --no-deps --target /opt/daedalus/app /source/collector

FROM code AS writer-code
COPY services/writer /source/writer
RUN uv pip install --no-deps --target /opt/daedalus/app /source/writer

FROM code AS sync-code
COPY services/sync /source/sync
RUN uv pip install --no-deps --target /opt/daedalus/app /source/sync

FROM code AS supervisor-code
COPY services/supervisor /source/supervisor
RUN uv pip install --no-deps --target /opt/daedalus/app /source/supervisor

# --- what every image starts from -----------------------------------------------------------------------------------
FROM ${BASE} AS runtime
# The base comes without bytecode, and who is not root cannot write any: 0.7 s of CPU and 6 MB at each start, for 11 MB here.
RUN python3 -m compileall -q -x '/(test|idlelib|tkinter|ensurepip|pydoc_data|turtledemo|site-packages|dist-packages)/' \
    "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && echo 'daedalus:x:10001:10001::/nonexistent:/usr/sbin/nologin' >>/etc/passwd \
    && echo 'daedalus:x:10001:' >>/etc/group \
    && mkdir /etc/daedalus && install -d -o 10001 -g 10001 /data
COPY compose/ready /usr/local/bin/daedalus-ready
# Two malloc arenas: glibc's eight per core keep freed memory, which a 24/7 process in a small container has no room for.
ENV PATH=/opt/daedalus/app/bin:/opt/daedalus/bin:$PATH \
    PYTHONPATH=/opt/daedalus/app \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    DAEDALUS_CONFIG=/etc/daedalus/config.yaml \
    DAEDALUS_HTTP_HOST=0.0.0.0 \
    DAEDALUS_HTTP_PORT=9100
USER 10001:10001
WORKDIR /data
EXPOSE 9100
STOPSIGNAL SIGTERM
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.vendor=Daedalus \
      org.opencontainers.image.licenses=MIT \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION

# --- the images -----------------------------------------------------------------------------------------------------
FROM runtime AS collector
COPY --from=collector-requirements /opt/daedalus /opt/daedalus
COPY --from=collector-code /opt/daedalus/app /opt/daedalus/app
LABEL org.opencontainers.image.title=daedalus-collector \
      org.opencontainers.image.description="Exchange feeds into JetStream, without loss"
ENTRYPOINT ["daedalus-collector"]

FROM collector AS simulator
COPY tests/simulator /opt/daedalus/app/simulator
LABEL org.opencontainers.image.title=daedalus-simulator \
      org.opencontainers.image.description="Simulated exchanges, for the tests"
ENTRYPOINT ["python", "-m", "simulator"]

FROM runtime AS writer
COPY --from=writer-requirements /opt/daedalus /opt/daedalus
COPY --from=writer-code /opt/daedalus/app /opt/daedalus/app
LABEL org.opencontainers.image.title=daedalus-writer \
      org.opencontainers.image.description="JetStream into Parquet segments, exactly once"
ENTRYPOINT ["daedalus-writer"]

FROM runtime AS sync
COPY --from=sync-requirements /opt/daedalus /opt/daedalus
COPY --from=sync-code /opt/daedalus/app /opt/daedalus/app
LABEL org.opencontainers.image.title=daedalus-sync \
      org.opencontainers.image.description="Committed segments into S3, verified"
ENTRYPOINT ["daedalus-sync"]

FROM runtime AS supervisor
COPY --from=supervisor-requirements /opt/daedalus /opt/daedalus
COPY --from=supervisor-code /opt/daedalus/app /opt/daedalus/app
LABEL org.opencontainers.image.title=daedalus-supervisor \
      org.opencontainers.image.description="Watches every service, reports, changes nothing"
ENTRYPOINT ["daedalus-supervisor"]
