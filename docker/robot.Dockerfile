# A simulated robot: the client and PyBullet, without torch. Build from the repository's root.
FROM python:3.11-slim

WORKDIR /app
COPY pyproject.toml constraints.txt README.md ./
COPY robot_client robot_client
COPY agents agents
COPY server server
COPY sim sim
RUN pip install --no-cache-dir -c constraints.txt ".[sim]"

# The spool is in the home folder: what was not delivered outlives the container.
RUN useradd --create-home dreamfleet && install -d -o dreamfleet /home/dreamfleet/.dreamfleet
USER dreamfleet
VOLUME /home/dreamfleet/.dreamfleet
WORKDIR /home/dreamfleet
CMD ["dreamfleet-robot", "run", "ball"]
