"""The whole service on PostgreSQL, which goes away and comes back."""

import signal

import pytest

from tests.postgres import Postgres
from tests.system.harness import Counter, Server, wait_until


@pytest.mark.timeout(400)
def test_rows_metrics_and_experiments_outlive_a_database_that_dies(tmp_path):
    with Postgres() as postgres, Server(tmp_path, "--database", postgres.new_database()) as server:
        experiment = server.create("random", {})
        with Counter(server):
            server.wait_for(experiment, lambda e: e["rows"] > 50)
            goes_on_without(server, postgres, experiment)
            found = finished(server, experiment)
        assert not (server.data / "dreamfleet.sqlite").exists()
        assert server.stop(signal.SIGTERM) == 0
        server.start()
        after = server.experiment(experiment)
        assert (after["state"], after["policy_version"]) == ("running", 0)
        assert finished(server, experiment)[: len(found)] == found
        assert server.absences(experiment)[0].endswith("was stopped")


def goes_on_without(server, postgres, experiment):
    """Rows are stored while the database is dead; what it should have been told, it is told."""
    postgres.stop(signal.SIGQUIT)
    before = server.experiment(experiment)["rows"]
    server.wait_for(experiment, lambda e: e["rows"] > before + 100)
    with pytest.raises(AssertionError, match="database does not answer"):
        server.get("/ready")
    with pytest.raises(AssertionError, match=r"503.*database does not answer"):
        server.get(f"/experiments/{experiment}/events")
    postgres.start()
    wait_until(lambda: server.get("/ready"), server.child.tail)


def finished(server, experiment):
    """Numbers of the finished episodes: of 21 rows each, without a hole."""
    numbers = [e["episode"] for e in server.get(f"/experiments/{experiment}/episodes")["items"]]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 5
    return numbers
