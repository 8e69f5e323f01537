"""What goes up and comes down, without a network: the window of uploads, the parts of blobs."""

from pathlib import Path

import numpy as np
import pytest

from robot_client.bundle import sha256
from robot_client.errors import BundleError
from robot_client.fetch import Fetch
from robot_client.messages import BlobPart, BlobRequest
from robot_client.spool import Spool
from robot_client.uplink import MAX_WAIT, WINDOW_CHUNKS, Uplink
from tests.unit.link_server import BLOBS, GRAPH, Inbox, manifest
from tests.unit.test_spool import fill, row


def part_of(blob: bytes, request: BlobRequest) -> BlobPart:
    data = np.frombuffer(blob[request.offset : request.offset + request.size], np.uint8)
    return BlobPart(request.sha256, request.offset, len(blob), {"data": data})


def test_a_newer_offer_takes_over_the_parts_it_needs() -> None:
    inbox = Inbox()
    fetch = Fetch(inbox)
    fetch.offer(manifest(1))
    first = list(fetch.requests(0.0))
    assert len(first) == 4
    for request in first:
        fetch.part(part_of(BLOBS[request.sha256], request))
    fetch.offer(manifest(2))
    rest = [r for now in range(2) for r in fetch.requests(float(now))]
    assert len(rest) == 3
    for request in rest:
        fetch.part(part_of(BLOBS[request.sha256], request))
    assert inbox.versions == [2]
    assert inbox.blobs == BLOBS


def test_parts_without_an_answer_are_asked_for_again() -> None:
    fetch = Fetch(Inbox())
    fetch.offer(manifest(1))
    first = set(fetch.requests(0.0))
    assert list(fetch.requests(1.0)) == []
    assert set(fetch.requests(3.0)) == first


@pytest.mark.parametrize("total", [0, 12])
def test_a_part_of_the_wrong_size_gives_the_policy_up(total: int) -> None:
    fetch = Fetch(Inbox())
    fetch.offer(manifest(1))
    request = next(r for r in fetch.requests(0.0) if r.sha256 == sha256(GRAPH))
    data = {"data": np.zeros(12 if total else len(GRAPH), np.uint8)}
    with pytest.raises(BundleError, match="expected 13 bytes"):
        fetch.part(BlobPart(request.sha256, 0, total, data))
    assert fetch.manifest is None
    assert list(fetch.requests(9.0)) == []


def test_the_window_is_bounded_and_unfinished_chunks_wait(tmp_path: Path) -> None:
    queue = Spool(tmp_path)
    fill(queue, 0, 2 * WINDOW_CHUNKS * 64 + 1)
    uplink = Uplink(queue)
    uplink.begin(0)

    def send(now: float) -> list[int]:
        seqs = []
        while (upload := uplink.upload(now)) is not None:
            uplink.sent(upload, now)
            seqs.append(upload.first_seq)
        return seqs

    assert send(0.0) == list(range(0, WINDOW_CHUNKS * 64, 64))
    uplink.acked(64, 0.1)
    assert send(0.1) == [WINDOW_CHUNKS * 64]
    uplink.acked(2 * WINDOW_CHUNKS * 64, 0.25)
    assert send(0.25) == []
    assert send(0.25 + MAX_WAIT) == [2 * WINDOW_CHUNKS * 64]
    uplink.acked(2 * WINDOW_CHUNKS * 64 + 1, 1.0)
    assert send(5.0) == []
    queue.close()


def test_what_is_not_acknowledged_is_sent_again(tmp_path: Path) -> None:
    queue = Spool(tmp_path)
    queue.append(0, row(0, last=True))
    uplink = Uplink(queue)
    for now in (0.0, 2.5, 5.0):
        upload = uplink.upload(now)
        assert upload is not None
        uplink.sent(upload, now)
        assert uplink.upload(now + 1.0) is None
    queue.close()
