"""The link against a small server of its own: hello, uploads, policies, keys, and every break."""

import contextlib
import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from robot_client import link as link_module
from robot_client import spool
from robot_client.bundle import sha256
from robot_client.errors import SpoolError
from robot_client.messages import (
    ANY_EPISODE,
    Ack,
    BlobPart,
    BlobRequest,
    Command,
    CommandDone,
    Event,
    Heartbeat,
    Hello,
    PolicyOffer,
    PolicyReport,
    Pulse,
    Rejected,
    Upload,
    Verb,
    Welcome,
)
from tests.unit.link_server import BLOBS, GRAPH, WEIGHTS, Server, Setup, manifest
from tests.unit.test_spool import fill, row


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    with zmq.Context() as context, ExitStack() as stack:
        yield Setup(tmp_path / "spool", stack, context)


def until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(2000):
        if condition():
            return
        pause.wait(0.005)
    pytest.fail("it did not come about within 10 s")


def test_hello_welcome_and_pulses(setup: Setup) -> None:
    fill(setup.spool, 0, 3)
    setup.spool.ack(1)
    link = setup.link(setup.server.bind())
    assert not link.connected
    hello = setup.server.welcome(1)
    assert (hello.robot, hello.epoch, hello.policy_version) == ("ball", setup.spool.epoch, 3)
    assert (hello.first_seq, hello.next_seq) == (1, 3)
    assert setup.server.want(Heartbeat).tick == 7
    setup.server.send(Pulse(7, "paused"))
    until(lambda: link.learner == "paused")
    assert link.connected
    assert link.server_age < 10
    assert link.welcome == Welcome("ball", "x1", 1, 0.1)


def test_hello_is_repeated_until_there_is_an_answer(setup: Setup) -> None:
    link = setup.link(setup.server.bind())
    for _ in range(3):
        assert setup.server.want(Hello)
    assert not link.connected
    assert link.server_age == float("inf")


def test_rows_are_acknowledged_and_deleted(setup: Setup) -> None:
    fill(setup.spool, 0, 100)
    fill(setup.spool, 1, 1)
    setup.spool.append(1, row(101, last=True))
    link = setup.link(setup.server.bind())
    setup.server.welcome()
    got: list[int] = []
    while len(got) < 102:
        upload = setup.server.want(Upload)
        assert upload.first_seq == len(got)
        assert upload.episode == (0 if upload.first_seq < 100 else 1)
        got += upload.columns["policy_version"].tolist()
        setup.server.send(Ack(upload.epoch, len(got)))
    assert got == list(range(102))
    until(lambda: link.backlog == 0)
    assert setup.spool.append(2, row(0, last=True)) == 102
    assert setup.server.want(Upload).first_seq == 102


def test_a_running_episode_is_sent_before_it_ends(setup: Setup) -> None:
    setup.link(setup.server.bind())
    setup.server.welcome()
    fill(setup.spool, 0, 3)
    assert setup.server.want(Upload).first_seq == 0


def test_a_lost_chunk_is_sent_again(setup: Setup) -> None:
    fill(setup.spool, 0, 3 * 64)
    link = setup.link(setup.server.bind())
    setup.server.welcome()
    assert [setup.server.want(Upload).first_seq for _ in range(3)] == [0, 64, 128]
    for _ in range(2):  # as if the first had never come: the others are gaps
        setup.server.send(Ack(setup.spool.epoch, 0))
    assert [setup.server.want(Upload).first_seq for _ in range(3)] == [0, 64, 128]
    setup.server.send(Ack(setup.spool.epoch, 192))
    until(lambda: link.backlog == 0)


def test_the_end_awaits_what_the_server_has_yet_to_acknowledge(setup: Setup) -> None:
    link = setup.link(setup.server.bind())
    setup.server.welcome()
    until(lambda: link.connected)
    fill(setup.spool, 0, 3)
    setup.spool.append(0, row(3, last=True))
    closing = threading.Thread(target=link.close)
    closing.start()
    seen = 0
    while seen < 4:
        upload = setup.server.want(Upload)
        seen = upload.first_seq + len(upload.columns["policy_version"])
    assert setup.spool.backlog == 4
    setup.server.send(Ack(setup.spool.epoch, 4))
    closing.join()
    assert setup.spool.backlog == 0


def test_a_server_that_comes_back_is_told_what_it_lacks(setup: Setup) -> None:
    fill(setup.spool, 0, 3 * 64)
    link = setup.link(setup.server.bind())
    setup.server.welcome()
    setup.server.want(Upload)
    setup.server.send(Ack(setup.spool.epoch, 64))
    until(lambda: link.backlog == 128)
    setup.server.socket.close()
    until(lambda: not link.connected)
    again = setup.new_server(setup.server.address)
    again.bind()
    assert again.welcome(128).first_seq == 64  # it had stored more than it had acknowledged
    assert again.want(Upload).first_seq == 128
    again.send(Ack(setup.spool.epoch, 192))
    until(lambda: link.backlog == 0)
    assert link.error == ""


def test_an_answer_from_before_the_welcome_that_comes_after_it_is_no_loss(setup: Setup) -> None:
    fill(setup.spool, 0, 3 * 64)
    link = setup.link(setup.server.bind())
    setup.server.welcome()
    assert setup.server.want(Upload).first_seq == 0
    until(lambda: link.welcome is None)  # a server so slow that it seems gone
    setup.server.welcome(128)
    until(lambda: link.backlog == 64)
    setup.server.send(Ack(setup.spool.epoch, 64))
    setup.server.send(Ack(setup.spool.epoch, 192))
    until(lambda: link.backlog == 0)
    assert link.error == ""


def test_a_silent_server_is_greeted_again(setup: Setup) -> None:
    link = setup.link(setup.server.bind())
    setup.server.welcome()
    until(lambda: link.connected)
    until(lambda: link.welcome is None)  # no pulse comes
    assert not link.connected
    setup.server.welcome()
    until(lambda: link.connected)


def test_a_server_that_does_not_know_us_is_greeted_at_once(setup: Setup) -> None:
    setup.link(setup.server.bind())
    setup.server.welcome()
    setup.server.want(Heartbeat)
    setup.server.send(Rejected("Heartbeat", "hello", "a Hello first", "Heartbeat", False))
    assert setup.server.want(Hello)


@pytest.mark.parametrize(("next_seq", "why"), [(1, "lost rows"), (9, "old copy")])
def test_a_server_of_another_mind_ends_uploads_with_a_reason(
    setup: Setup, next_seq: int, why: str
) -> None:
    fill(setup.spool, 0, 5)
    setup.spool.ack(2)
    link = setup.link(setup.server.bind())
    setup.server.welcome(next_seq)
    event = setup.server.want(Event)
    assert event.kind == "upload_stopped"
    assert why in event.text
    assert why in link.error
    assert setup.server.want(Heartbeat)  # the rest goes on
    assert setup.spool.backlog == 3


def test_fatal_refusals_are_not_repeated_soon(setup: Setup) -> None:
    link = setup.link(setup.server.bind())
    setup.server.want(Hello)
    setup.server.send(Rejected("Hello", "action_space", "box", "discrete", True))
    until(lambda: "action_space: expected box, got discrete" in link.error)
    setup.server.socket.rcvtimeo = 700
    with contextlib.suppress(zmq.Again):
        setup.server.want(Hello)  # one may have been under way
    with pytest.raises(zmq.Again):
        setup.server.want(Hello)


def test_a_refused_upload_ends_uploads_only(setup: Setup) -> None:
    setup.spool.append(0, row(0, last=True))
    link = setup.link(setup.server.bind())
    setup.server.welcome()
    setup.server.want(Upload)
    setup.server.send(Rejected("Upload", "columns.reward", "float32", "float64", True))
    assert "columns.reward" in setup.server.want(Event).text
    assert setup.server.want(Heartbeat)
    assert link.connected
    assert link.backlog == 1


def test_a_disk_that_fails_for_a_while_ends_uploads_for_a_while(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "_DISK_PAUSE", 0.3)
    setup.spool.append(0, row(0, last=True))

    def fail(*place: object) -> None:
        raise SpoolError("the disk fails")

    monkeypatch.setattr(setup.spool, "read", fail)
    link = setup.link(setup.server.bind())
    setup.server.welcome()
    assert setup.server.want(Event) == Event("upload_stopped", "the disk fails")
    monkeypatch.undo()
    assert setup.server.want(Upload).first_seq == 0
    setup.server.send(Ack(setup.spool.epoch, 1))
    until(lambda: link.backlog == 0)
    assert link.error == ""


def test_uploads_that_were_refused_go_on_when_the_server_thinks_otherwise(setup: Setup) -> None:
    fill(setup.spool, 0, 5)
    setup.spool.ack(2)
    link = setup.link(setup.server.bind())
    setup.server.welcome(1)
    until(lambda: "lost rows" in link.error)
    setup.server.send(Rejected("Heartbeat", "hello", "a Hello first", "Heartbeat", False))
    setup.server.welcome(2)  # its right data has been restored
    assert setup.server.want(Upload).first_seq == 2
    assert link.error == ""


@pytest.mark.parametrize("there", [True, False])
def test_rows_are_durable_within_seconds_with_and_without_a_server(
    setup: Setup, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(spool, "sync_file", synced.append)
    fill(setup.spool, 0, 3)
    setup.link(setup.server.bind())
    if there:
        setup.server.welcome()
    until(lambda: bool(synced))


def test_commands_come_down_and_short_messages_go_up(setup: Setup) -> None:
    link = setup.link(setup.server.bind())
    link.send(Event("log", "said before there was a server"))
    setup.server.welcome()
    assert setup.server.want(Event).text.startswith("said before")
    setup.server.send(Command(5, "pause", ANY_EPISODE))
    until(lambda: setup.commands == [Command(5, "pause", ANY_EPISODE)])
    link.send(CommandDone(5, ""))
    assert setup.server.want(CommandDone).id == 5


def test_what_cannot_be_decoded_or_encoded_does_no_harm(setup: Setup) -> None:
    link = setup.link(setup.server.bind())
    setup.server.welcome()
    setup.server.socket.send_multipart([setup.server.peer, b"\xff\x00", b"nonsense"])
    until(lambda: link.bad_messages == 1)
    link.send(Event("log", "x" * 10**6))
    link.send(Event("log", "short"))
    assert setup.server.want(Event).text == "short"
    assert "Event cannot be sent" in link.error


def serve_part(server: Server, blobs: dict[str, bytes]) -> BlobRequest:
    request = server.want(BlobRequest)
    blob = blobs[request.sha256]
    data = np.frombuffer(blob[request.offset : request.offset + request.size], np.uint8)
    server.send(BlobPart(request.sha256, request.offset, len(blob), {"data": data}))
    return request


def test_an_offered_policy_is_fetched_and_resumed(setup: Setup) -> None:
    setup.link(setup.server.bind())
    setup.server.welcome()
    setup.server.send(PolicyOffer(manifest(4).to_json()))
    for _ in range(4):
        serve_part(setup.server, BLOBS)
    setup.server.send(Rejected("BlobRequest", "hello", "a Hello first", "BlobRequest", False))
    setup.server.welcome()
    for _ in range(3):  # of seven parts: what had come is not fetched again
        serve_part(setup.server, BLOBS)
    until(lambda: setup.inbox.versions == [4])
    assert setup.inbox.blobs == BLOBS


def test_a_blob_that_is_not_what_was_promised_is_refused(setup: Setup) -> None:
    setup.link(setup.server.bind())
    setup.server.welcome()
    setup.server.send(PolicyOffer(manifest(4).to_json()))
    forged = {sha256(WEIGHTS): WEIGHTS[:-1] + b"!", sha256(GRAPH): GRAPH}
    for _ in range(7):
        serve_part(setup.server, forged)
    report = setup.server.want(PolicyReport)
    assert (report.experiment, report.version) == ("x1", 4)
    assert "digest" in report.error
    assert setup.inbox.versions == []
    setup.server.send(PolicyOffer(manifest(5).to_json()))
    for _ in range(6):
        serve_part(setup.server, BLOBS)
    until(lambda: setup.inbox.versions == [5])


def test_a_policy_that_the_server_no_longer_has_is_given_up(setup: Setup) -> None:
    setup.link(setup.server.bind())
    setup.server.welcome()
    setup.server.send(PolicyOffer(manifest(4).to_json()))
    setup.server.want(BlobRequest)
    setup.server.send(Rejected("BlobRequest", "sha256", "a stored blob", "ab", True))
    assert setup.server.want(PolicyReport).version == 4
    setup.server.send(PolicyOffer({"format": 99}))
    assert setup.server.want(Event).kind == "policy_refused"


def test_a_fault_that_nobody_foresaw_costs_one_connection(setup: Setup) -> None:
    def fail(sha256: str, data: bytes) -> None:
        raise RuntimeError("nobody foresaw this")

    setup.inbox.received = fail  # type: ignore[method-assign]
    link = setup.link(setup.server.bind())
    setup.server.welcome()
    setup.server.send(PolicyOffer(manifest().to_json()))
    serve_part(setup.server, BLOBS)  # the graph: it has one part
    until(lambda: "nobody foresaw this" in link.error)
    setup.server.welcome()
    setup.server.send(Command(5, "pause", ANY_EPISODE))
    until(lambda: setup.commands == [Command(5, "pause", ANY_EPISODE)])


@pytest.mark.parametrize("verb", ["stop", "pause"])
def test_what_halts_the_robot_is_obeyed_before_the_welcome(setup: Setup, verb: Verb) -> None:
    setup.link(setup.server.bind())
    setup.server.want(Hello)
    for command in (Command(1, "release", ANY_EPISODE), Command(2, verb, ANY_EPISODE)):
        setup.server.send(command)
    until(lambda: setup.commands == [Command(2, verb, ANY_EPISODE)])


REFUSED = Rejected("Hello", "first_seq", "0 to 0, or a new epoch", "2", True)


def test_a_robot_that_has_delivered_begins_a_new_epoch_for_another_experiment(
    setup: Setup,
) -> None:
    setup.spool.append(0, row(0, last=True))
    setup.spool.ack(1)
    link = setup.link(setup.server.bind())
    old = setup.server.want(Hello)
    assert (old.first_seq, old.next_seq) == (1, 1)
    setup.server.send(REFUSED)
    hello = setup.server.want(Hello)
    while hello.epoch == old.epoch:  # said before the refusal came
        hello = setup.server.want(Hello)
    assert (hello.first_seq, hello.next_seq) == (0, 0)
    setup.server.send(Welcome("ball", "x2", 0, 0.1))
    setup.spool.append(1, row(1, last=True))
    upload = setup.server.want(Upload)
    assert (upload.epoch, upload.episode, upload.first_seq) == (hello.epoch, 1, 0)
    assert link.error == ""


def test_rows_that_no_server_has_seen_are_not_given_to_another_experiment(setup: Setup) -> None:
    setup.spool.join("x2")
    fill(setup.spool, 0, 3)
    link = setup.link(setup.server.bind())
    setup.server.welcome()  # to x1
    until(lambda: link.error.startswith("3 rows belong to an experiment"))
    assert not link.connected
    assert setup.spool.backlog == 3


def test_rows_of_another_experiment_are_kept_and_the_link_says_what_to_do(setup: Setup) -> None:
    for value in range(3):
        setup.spool.append(0, row(value, last=value == 2))
    setup.spool.ack(1)
    epoch = setup.spool.epoch
    link = setup.link(setup.server.bind())
    setup.server.want(Hello)
    setup.server.send(REFUSED)
    until(lambda: "move the spool" in link.error)
    assert link.error.startswith("2 rows belong to an experiment")
    assert (setup.spool.epoch, setup.spool.backlog) == (epoch, 2)


def test_a_connection_that_cannot_be_opened_is_tried_again(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "_RESTART_S", 0.05)
    make, failed = zmq.Context.socket, threading.Event()
    address = setup.server.bind()

    def socket(context: zmq.Context[Any], kind: int) -> zmq.Socket[Any]:
        if failed.is_set():
            return make(context, kind)
        failed.set()
        raise zmq.ZMQError(errno.EMFILE)

    monkeypatch.setattr(zmq.Context, "socket", socket)
    link = setup.link(address)
    setup.server.welcome()
    until(lambda: link.connected)
