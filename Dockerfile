# syntax=docker/dockerfile:1
# The coordinator (and the reference participants), without the embedded PostgreSQL and NATS.
#   docker build -t kessai .
#   docker run --rm kessai serve --help
FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/kessai
COPY requirements/runtime.txt requirements/runtime.txt
RUN /opt/kessai/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY proto proto
COPY coordinator coordinator
COPY phases phases
COPY adapters adapters
COPY participants participants
# The fault-injection harness. An image without this line can inject no faults, whatever its settings say.
COPY fault_injection fault_injection
# setuptools only builds the wheel; it does not go into the image that runs. Its entry, pinned and
# hashed, is taken out of the developers' list.
COPY requirements/dev.txt requirements/dev.txt
RUN sed -n '/^setuptools==/,/[^\\]$/p' requirements/dev.txt > requirements/build.txt \
    && pip install --no-cache-dir --no-deps --require-hashes -r requirements/build.txt \
    && pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/kessai/bin/pip install --no-cache-dir --no-deps /wheels/*.whl

FROM python:3.12-slim
RUN useradd --system --no-create-home --uid 10001 kessai
COPY --from=build /opt/kessai /opt/kessai
ENV PATH="/opt/kessai/bin:$PATH" PYTHONUNBUFFERED=1 KESSAI_LISTEN=0.0.0.0:7300
USER kessai
EXPOSE 7300
# SIGTERM drains: calls under way finish, the rest is taken up by another process.
STOPSIGNAL SIGTERM
# Asks the standard gRPC health service at the port of KESSAI_LISTEN, so set that rather than --listen;
# for `participant serve --listen …`, pass the same address as KESSAI_LISTEN too.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, grpc; from grpc_health.v1 import health_pb2, health_pb2_grpc; port = os.environ['KESSAI_LISTEN'].rpartition(':')[2]; health = health_pb2_grpc.HealthStub(grpc.insecure_channel('127.0.0.1:' + port)); assert health.Check(health_pb2.HealthCheckRequest(), timeout=4).status == health_pb2.HealthCheckResponse.SERVING"]
ENTRYPOINT ["kessai"]
CMD ["serve"]
