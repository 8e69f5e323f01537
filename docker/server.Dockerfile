# The server and its learners. Build from the repository's root.
ARG BASE=python:3.11-slim
FROM ${BASE}

WORKDIR /app
COPY pyproject.toml constraints.txt README.md ./

# torch first and exactly as pinned, in a layer of its own. TORCH_INDEX chooses its build.
ARG TORCH_INDEX=""
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' constraints.txt)"

COPY robot_client robot_client
COPY agents agents
COPY server server
COPY sim sim
RUN pip install --no-cache-dir -c constraints.txt ".[learner,datasets,postgres]"

COPY docker/first_start.sh /usr/local/bin/
# The user's number is that of the robots' image: they share folders. A folder that is here is what
# an empty volume in its place begins with, owner included.
RUN useradd --uid 10001 --create-home dreamfleet \
    && install -d -o dreamfleet -g dreamfleet -m 0700 /data \
    && install -d -o dreamfleet -g dreamfleet /enrol /scrape /server-key
USER 10001
WORKDIR /tmp
CMD ["dreamfleet", "serve", "--data", "/data"]
