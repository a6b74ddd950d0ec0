# Build: docker build -t registry-facade .
# Run:   docker run -p 8761:8761 -p 30100:30100 -p 30103:30103 -v registry:/var/lib/registry-facade registry-facade
# With compose, on Kubernetes: docs/deployment.md. Not built in CI: no container engine is at hand.
# One port is enough, as every port answers everything: -e REGISTRY_FACADE_LISTEN=0.0.0.0:8761 -p 8761:8761

FROM python:3.13-slim AS build
RUN python -m venv /opt/registry-facade
COPY requirements/runtime.txt /tmp/
RUN /opt/registry-facade/bin/pip install --no-cache-dir --require-hashes -r /tmp/runtime.txt
COPY facade /tmp/facade
# Compiled here, because the image may run with a read-only file system.
RUN site=$(/opt/registry-facade/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
    mv /tmp/facade "$site/facade" && \
    /opt/registry-facade/bin/python -m compileall -q "$site/facade" && \
    /opt/registry-facade/bin/pip uninstall --yes --quiet pip

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/registry-facade --shell /usr/sbin/nologin registry && \
    install -d -m 0700 -o registry -g registry /var/lib/registry-facade
COPY --from=build /opt/registry-facade /opt/registry-facade
ENV PATH=/opt/registry-facade/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    REGISTRY_FACADE_DATA_DIR=/var/lib/registry-facade \
    REGISTRY_FACADE_LISTEN=0.0.0.0:8761,0.0.0.0:30100,0.0.0.0:30103
# By number, so that Kubernetes can see that it is not root.
USER 10001
VOLUME /var/lib/registry-facade
EXPOSE 8761 30100 30103
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --start-interval=1s CMD ["python", "-m", "facade", "health"]
ENTRYPOINT ["python", "-m", "facade"]
CMD ["serve"]
