# syntax=docker/dockerfile:1
# The coordinator (and the reference participants), without the embedded PostgreSQL and NATS.
#   docker build -t kessai .
#   docker run --rm kessai serve --help
FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/kessai
COPY requirements/runtime.txt requirements/runtime.txt
RUN /opt/kessai/bin/pip install --no-cache-dir --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY proto proto
COPY coordinator coordinator
COPY phases phases
COPY adapters adapters
COPY participants participants
COPY fault_injection fault_injection
# setuptools only builds the wheel; it does not go into the image that runs.
RUN pip install --no-cache-dir "setuptools>=80" \
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
ENTRYPOINT ["kessai"]
CMD ["serve"]
