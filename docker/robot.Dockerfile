# Simulated robots: the client and PyBullet, without torch. Build from the repository's root.
ARG BASE=python:3.11-slim
FROM ${BASE}

WORKDIR /app
COPY pyproject.toml constraints.txt README.md ./
COPY robot_client robot_client
COPY agents agents
COPY server server
COPY sim sim
RUN pip install --no-cache-dir -c constraints.txt ".[sim]"

COPY docker/robot.sh /usr/local/bin/
# The user's number is that of the server's image: they share folders. A folder that is here is what
# an empty volume in its place begins with, owner included.
RUN useradd --uid 10001 --create-home dreamfleet \
    && install -d -o dreamfleet -g dreamfleet -m 0700 /home/dreamfleet/.dreamfleet \
    && install -d -o dreamfleet -g dreamfleet /enrol /server-key
USER 10001
WORKDIR /home/dreamfleet
ENTRYPOINT ["robot.sh"]
CMD ["ball"]
