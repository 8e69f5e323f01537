# A simulated robot: the client and PyBullet, without torch. Build from the repository's root.
FROM python:3.11-slim

WORKDIR /app
COPY pyproject.toml constraints.txt README.md ./
COPY robot_client robot_client
COPY agents agents
COPY server server
COPY sim sim
RUN pip install --no-cache-dir -c constraints.txt ".[sim]"

RUN useradd --create-home dreamfleet
USER dreamfleet
WORKDIR /home/dreamfleet
CMD ["dreamfleet-robot", "run", "ball"]
