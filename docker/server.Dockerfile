# The server and its learners. Build from the repository's root.
FROM python:3.11-slim

WORKDIR /app
COPY pyproject.toml constraints.txt README.md ./

# torch first and exactly as pinned, in a layer of its own. TORCH_INDEX chooses its build.
ARG TORCH_INDEX=""
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' constraints.txt)"

COPY robot_client robot_client
COPY agents agents
COPY server server
COPY sim sim
RUN pip install --no-cache-dir -c constraints.txt ".[learner,datasets]"

RUN useradd --create-home dreamfleet && install -d -o dreamfleet /data
USER dreamfleet
VOLUME /data
CMD ["dreamfleet", "serve", "--data", "/data"]
