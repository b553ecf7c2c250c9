# The service and its command line, without the lab.
#
#   docker build --build-arg BASE=python:3.13-slim-bookworm --tag shifter:0.1.0 .
#
# BASE is any image with Python 3.11 or newer as `python3`, its venv and ensurepip; pin it by digest. Both stages must
# use the same one, since the environment that the first makes has the second's interpreter. Everything that is installed
# is a wheel with a hash from requirements/*.lock; nothing is compiled, and no package manager of the system is asked.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# What was locked changes rarely, what is built of the source often: in this order the first is not installed again.
COPY requirements/build.lock requirements/runtime.lock requirements/
RUN python3 -m venv /build \
 && /build/bin/python -m pip install --require-hashes --only-binary :all: --requirement requirements/build.lock \
 && python3 -m venv --without-pip /opt/shifter \
 && /build/bin/python -m pip --python /opt/shifter/bin/python install \
      --require-hashes --only-binary :all: --requirement requirements/runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY shifter shifter
# The lab can kill, freeze and forge: it has no place beside production. .dockerignore leaves it out already; other
# builders may not read that.
RUN rm -rf shifter/lab \
 && /build/bin/hatchling build --target wheel --directory /wheels \
 && /build/bin/python -m pip --python /opt/shifter/bin/python install --no-deps --no-index /wheels/*.whl
# In a folder without the source, so that what is installed is what is tried.
WORKDIR /
RUN ["/opt/shifter/bin/python", "-I", "-c", "import importlib.util as found; assert not found.find_spec('shifter.lab')"]
RUN ["/opt/shifter/bin/shifter", "version"]

FROM ${BASE}
LABEL org.opencontainers.image.title="shifter" \
      org.opencontainers.image.description="Carries production traffic from Tencent Cloud Mesh to a self-built Istio" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/shifter /opt/shifter
# Logs leave as they are written. Nothing is written beside the modules: the root file system is read-only.
ENV PATH=/opt/shifter/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that the kubelet can see that it is not root. No user of that name is needed.
USER 65532:65532
WORKDIR /tmp
EXPOSE 8080
ENTRYPOINT ["/opt/shifter/bin/shifter"]
CMD ["--help"]
