"""The codec: golden bytes, round trips, fuzz, and every limit."""

from dataclasses import fields, replace
from typing import Any, get_type_hints

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robot_client.errors import MessageError
from robot_client.messages import (
    ANY_EPISODE,
    KINDS,
    PROTOCOL,
    Ack,
    BlobPart,
    BlobRequest,
    Command,
    CommandDone,
    Drive,
    Evaluate,
    Event,
    Heartbeat,
    Hello,
    Message,
    PolicyOffer,
    PolicyReport,
    Pulse,
    Rejected,
    Upload,
    Welcome,
    decode,
    encode,
)
from robot_client.schema import Columns
from robot_client.wire import ARRAY_DTYPES, Limits

DIGEST = "ab" * 32
BOX = {"type": "box", "shape": [2], "dtype": "float32", "low": "-inf", "high": [1.0, 2.0]}
COLUMNS = {
    "reward": np.array([0.5, -1.0], np.float32),
    "is_first": np.array([True, False]),
    "image": np.arange(4, dtype=np.uint8).reshape(2, 1, 2, 1),
    "policy/h": np.array([[1.0], [2.0]], np.float16),
    "policy_version": np.array([-1, 7]),
    "time_wall": np.array([0.25, 1e9]),
}
EXAMPLES: list[Message] = [
    Hello("ball", "e1", {"type": "dict", "spaces": {"pos": BOX}}, {"type": "discrete", "n": 3},
          2.0, {"name": "roll", "episode_steps": None}, 5, 9, -1, "0.1.0"),
    Upload("e1", 3, 5, "roll", COLUMNS, {"evaluation": 4, "learn": False}),
    Heartbeat(12, 4, "fresh", "", 3, 19.5, 0, 3, 0.75, 0.25, "ann", 4),
    BlobRequest(DIGEST, 262144, 4096),
    PolicyReport("x1", 4, "probe differs"),
    Event("safety_stop", "vers la gauche: é"),
    CommandDone(8, ""),
    Welcome("ball", "x1", 5, 0.5),
    Ack("e1", 9),
    Rejected("Upload", "columns.reward", "float32 (2,)", "float64 (2,)", True),
    Pulse(12, "running"),
    PolicyOffer({"format": 1, "sizes": {DIGEST: 7}, "list": [1, 2.5, None, True]}),
    BlobPart(DIGEST, 0, 3, {"data": np.array([1, 2, 3], np.uint8)}),
    Command(8, "end_episode", 3),
    Drive("l1", 2, "ann", "act", 1.5, {"action": np.array([0.5, -1.0], np.float32)}),
    Evaluate(4, "x1", 7, 5, False),
]  # fmt: skip
# Hexadecimal frames of EXAMPLES, written down from `encode`.
# A difference here is another protocol: raise PROTOCOL.
GOLDEN: dict[str, list[str]] = {
    "Hello": [
        "84a17604a46b696e64a548656c6c6fa4626f64798aa5726f626f74a462616c6ca565706f6368a26531b1"
        "6f62736572766174696f6e5f737061636582a474797065a464696374a673706163657381a3706f7385a4"
        "74797065a3626f78a573686170659102a56474797065a7666c6f61743332a36c6f77a42d696e66a46869"
        "676892cb3ff0000000000000cb4000000000000000ac616374696f6e5f737061636582a474797065a864"
        "69736372657465a16e03aa636f6e74726f6c5f687acb4000000000000000a47461736b82a46e616d65a4"
        "726f6c6cad657069736f64655f7374657073c0a966697273745f73657105a86e6578745f73657109ae70"
        "6f6c6963795f76657273696f6effa6636c69656e74a5302e312e30a661727261797390",
    ],
    "Upload": [
        "84a17604a46b696e64a655706c6f6164a4626f647985a565706f6368a26531a7657069736f646503a966"
        "697273745f73657105a47461736ba4726f6c6ca374616782aa6576616c756174696f6e04a56c6561726e"
        "c2a66172726179739693a6726577617264a7666c6f61743332910293a869735f6669727374a4626f6f6c"
        "910293a5696d616765a575696e7438940201020193a8706f6c6963792f68a7666c6f6174313692020193"
        "ae706f6c6963795f76657273696f6ea5696e743634910293a974696d655f77616c6ca7666c6f61743634"
        "9102",
        "0000003f000080bf",
        "0100",
        "00010203",
        "003c0040",
        "ffffffffffffffff0700000000000000",
        "000000000000d03f0000000065cdcd41",
    ],
    "Heartbeat": [
        "84a17604a46b696e64a9486561727462656174a4626f64798ca47469636b0cae706f6c6963795f766572"
        "73696f6e04a6736166657479a56672657368a6726561736f6ea0ac6261636b6c6f675f726f777303a76c"
        "6f6f705f687acb4033800000000000ac6d69737365645f7469636b7300a7657069736f646503a8737572"
        "7072697365cb3fe8000000000000a76c6174656e6379cb3fd0000000000000a6647269766572a3616e6e"
        "aa6576616c756174696f6e04a661727261797390",
    ],
    "BlobRequest": [
        "84a17604a46b696e64ab426c6f6252657175657374a4626f647983a6736861323536d940616261626162"
        "616261626162616261626162616261626162616261626162616261626162616261626162616261626162"
        "61626162616261626162616261626162a66f6666736574ce00040000a473697a65cd1000a66172726179"
        "7390",
    ],
    "PolicyReport": [
        "84a17604a46b696e64ac506f6c6963795265706f7274a4626f647983aa6578706572696d656e74a27831"
        "a776657273696f6e04a56572726f72ad70726f62652064696666657273a661727261797390",
    ],
    "Event": [
        "84a17604a46b696e64a54576656e74a4626f647982a46b696e64ab7361666574795f73746f70a4746578"
        "74b276657273206c61206761756368653a20c3a9a661727261797390",
    ],
    "CommandDone": [
        "84a17604a46b696e64ab436f6d6d616e64446f6e65a4626f647982a2696408a56572726f72a0a6617272"
        "61797390",
    ],
    "Welcome": [
        "84a17604a46b696e64a757656c636f6d65a4626f647984a5726f626f74a462616c6caa6578706572696d"
        "656e74a27831a86e6578745f73657105ab6865617274626561745f73cb3fe0000000000000a661727261"
        "797390",
    ],
    "Ack": [
        "84a17604a46b696e64a341636ba4626f647982a565706f6368a26531a86e6578745f73657109a6617272"
        "61797390",
    ],
    "Rejected": [
        "84a17604a46b696e64a852656a6563746564a4626f647985a46b696e64a655706c6f6164a56669656c64"
        "ae636f6c756d6e732e726577617264a86578706563746564ac666c6f617433322028322c29a3676f74ac"
        "666c6f617436342028322c29a5666174616cc3a661727261797390",
    ],
    "Pulse": [
        "84a17604a46b696e64a550756c7365a4626f647982a47469636b0ca76c6561726e6572a772756e6e696e"
        "67a661727261797390",
    ],
    "PolicyOffer": [
        "84a17604a46b696e64ab506f6c6963794f66666572a4626f647981a86d616e696665737483a6666f726d"
        "617401a573697a657381d940616261626162616261626162616261626162616261626162616261626162"
        "6162616261626162616261626162616261626162616261626162616261626162616207a46c6973749401"
        "cb4004000000000000c0c3a661727261797390",
    ],
    "BlobPart": [
        "84a17604a46b696e64a8426c6f6250617274a4626f647983a6736861323536d940616261626162616261"
        "626162616261626162616261626162616261626162616261626162616261626162616261626162616261"
        "62616261626162616261626162a66f666673657400a5746f74616c03a66172726179739193a464617461"
        "a575696e74389103",
        "010203",
    ],
    "Command": [
        "84a17604a46b696e64a7436f6d6d616e64a4626f647983a2696408a476657262ab656e645f657069736f"
        "6465a7657069736f646503a661727261797390",
    ],
    "Drive": [
        "84a17604a46b696e64a54472697665a4626f647985a56c65617365a26c31a47475726e02a66472697665"
        "72a3616e6ea477697368a3616374a473656e74cb3ff8000000000000a66172726179739193a661637469"
        "6f6ea7666c6f617433329102",
        "0000003f000080bf",
    ],
    "Evaluate": [
        "84a17604a46b696e64a84576616c75617465a4626f647985aa6576616c756174696f6e04aa6578706572"
        "696d656e74a27831a776657273696f6e07a8657069736f64657305a56c6561726ec2a661727261797390",
    ],
}


def same(left: Message, right: Message) -> bool:
    if type(left) is not type(right):
        return False
    for field in fields(left):
        a, b = getattr(left, field.name), getattr(right, field.name)
        if field.name != "columns":
            if a != b:
                return False
        elif list(a) != list(b) or any(
            a[k].dtype != b[k].dtype or a[k].shape != b[k].shape or a[k].tobytes() != b[k].tobytes()
            for k in a
        ):
            return False
    return True


def header(**changes: Any) -> dict[str, Any]:
    return {
        "v": PROTOCOL,
        "kind": "Ack",
        "body": {"epoch": "e", "next_seq": 1},
        "arrays": [],
    } | changes


def refused(frames: list[Any], limits: Limits = Limits()) -> MessageError:  # noqa: B008 - frozen
    with pytest.raises(MessageError) as caught:
        decode(frames, limits)
    return caught.value


def refused_header(*arrays: bytes, **changes: Any) -> MessageError:
    return refused([msgpack.packb(header(**changes)), *arrays])


def refused_array(entry: Any, frame: bytes = b"") -> MessageError:
    body = {"epoch": "e", "episode": 0, "first_seq": 0, "task": "", "tag": {}}
    return refused_header(frame, kind="Upload", body=body, arrays=[entry])


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m).__name__)
def test_the_bytes_of_every_kind_are_fixed(message: Message) -> None:
    golden = [bytes.fromhex(frame) for frame in GOLDEN[type(message).__name__]]
    assert [bytes(frame) for frame in encode(message)] == golden
    assert same(decode(golden), message)


def test_every_kind_has_golden_bytes() -> None:
    assert set(GOLDEN) == set(KINDS) == {type(m).__name__ for m in EXAMPLES}


finite = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63), 2**63 - 1)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | integers | finite | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
arrays = st.sampled_from(sorted(ARRAY_DTYPES)).flatmap(
    lambda name: hnp.arrays(name, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
)
columns = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9), arrays, max_size=4
)


def values(hint: Any) -> st.SearchStrategy[Any]:
    plain = {str: text, int: integers, float: finite, bool: st.booleans()}
    if hint in plain:
        return plain[hint]
    if hint == Columns:
        return columns
    choices = getattr(hint, "__args__", ())
    if all(isinstance(choice, str) for choice in choices):
        return st.sampled_from(choices)
    return st.dictionaries(text, json_values, max_size=3)


messages = st.sampled_from(list(KINDS.values())).flatmap(
    lambda kind: st.builds(kind, **{n: values(h) for n, h in get_type_hints(kind).items()})
)


@given(messages)
@settings(deadline=None)
def test_any_message_comes_back_as_it_was(message: Message) -> None:
    assert same(decode([bytes(frame) for frame in encode(message)]), message)


@given(st.lists(st.binary(max_size=200), max_size=4))
@settings(deadline=None)
def test_random_bytes_raise_message_errors_only(frames: list[bytes]) -> None:
    with pytest.raises(MessageError):
        decode(frames)


@given(json_values, st.lists(st.binary(max_size=40), max_size=2))
@settings(deadline=None)
def test_any_msgpack_header_raises_message_errors_only(value: Any, rest: list[bytes]) -> None:
    with pytest.raises(MessageError):
        decode([msgpack.packb(value), *rest])


@given(st.sampled_from(["v", "kind", "body", "arrays"]), json_values, st.sampled_from(EXAMPLES))
@settings(deadline=None)
def test_a_replaced_header_part_is_refused_or_valid(
    part: str, value: Any, message: Message
) -> None:
    first, *rest = encode(message)
    changed = msgpack.unpackb(first) | {part: value}
    accepted_or_message_error([msgpack.packb(changed), *(bytes(f) for f in rest)])


@given(st.sampled_from(EXAMPLES), st.data())
@settings(deadline=None, max_examples=300)
def test_mutated_messages_raise_message_errors_only(message: Message, data: st.DataObject) -> None:
    frames = [bytearray(frame) for frame in encode(message)]
    frame = frames[data.draw(st.integers(0, len(frames) - 1))]
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del frame[data.draw(st.integers(0, len(frame))) :]
    accepted_or_message_error([bytes(f) for f in frames])


def accepted_or_message_error(frames: list[bytes]) -> None:
    try:
        message = decode(frames)
    except MessageError:
        return
    assert same(decode([bytes(f) for f in encode(message)]), message)


def test_the_header_is_checked_part_by_part() -> None:
    assert refused([]).field == "frames"
    assert refused([b""]).field == "header"
    assert refused([msgpack.packb([1])]).field == "header"
    assert refused_header(v=PROTOCOL + 1).expected == f"protocol {PROTOCOL}"
    assert refused_header(v=True).field == "v"
    assert refused_header(more=1).field == "header"
    assert refused_header(kind="Nothing").field == "kind"
    assert refused_header(kind=["Ack"]).field == "kind"
    assert refused_header(body=[]).field == "body"
    assert refused_header(arrays={}).field == "arrays"
    assert refused([msgpack.packb(header()) + b"\x00"]).field == "header"
    assert refused([msgpack.packb({**header(), "v": msgpack.ExtType(1, b"x")})]).field == "header"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"epoch": "e"}, "next_seq"),
        ({"epoch": "e", "next_seq": 1, "x": 2}, "x"),
        ({"epoch": "e", "next_seq": 1.0}, "next_seq"),
        ({"epoch": "e", "next_seq": True}, "next_seq"),
        ({"epoch": "e", "next_seq": 2**63}, "next_seq"),
        ({"epoch": 3, "next_seq": 1}, "epoch"),
        ({"epoch": "e" * 20_000, "next_seq": 1}, "epoch"),
    ],
)
def test_fields_are_checked_against_their_annotations(body: dict[str, Any], field: str) -> None:
    assert refused_header(body=body).field == field


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "2", None, True])
def test_floats_are_finite_numbers(bad: Any) -> None:
    body = {"robot": "r", "experiment": "x", "next_seq": 0, "heartbeat_s": bad}
    assert refused_header(kind="Welcome", body=body).field == "heartbeat_s"


def test_an_integer_will_do_for_a_float() -> None:
    message = decode([bytes(f) for f in encode(Welcome("r", "x", 0, 1))])
    assert isinstance(message, Welcome)
    assert type(message.heartbeat_s) is float


def test_a_verb_is_one_of_the_declared() -> None:
    error = refused_header(kind="Command", body={"id": 1, "verb": "explode", "episode": 0})
    assert (error.field, error.got) == ("verb", "str 'explode'")
    with pytest.raises(MessageError, match="verb"):
        encode(Command(1, "explode", ANY_EPISODE))  # type: ignore[arg-type]


def test_json_is_plain_and_bounded() -> None:
    def offer(value: Any, limits: Limits = Limits()) -> MessageError:  # noqa: B008 - frozen
        body = {"manifest": value}
        return refused([msgpack.packb(header(kind="PolicyOffer", body=body))], limits)

    deep: Any = {}
    for _ in range(17):
        deep = {"a": deep}
    assert "deep" in offer(deep).expected
    assert offer([1]).field == "manifest"
    assert offer({"a": float("nan")}).field == "manifest"
    assert offer({"a": b"bytes"}).field == "header"
    assert offer({b"a": 1}).field == "header"
    assert offer({"a": {1: 2}}).field == "header"
    assert offer({"a": [0] * 9}, Limits(items=8)).field == "header"
    assert offer({"a": "long"}, Limits(text=3)).field == "manifest"


def test_nested_headers_neither_overflow_the_stack_nor_reserve_memory() -> None:
    assert refused([b"\x91" * 60_000 + b"\xc0"]).field == "header"
    assert refused([b"\xdd\x00\x00\xff\xff" * 1000]).field == "header"


def test_arrays_match_their_entries() -> None:
    entry = ["a", "float32", [2]]
    assert refused_array(entry, bytes(7)).got == "7"
    assert refused_array(["a", "object", [1]], bytes(8)).field == "columns.a"
    assert refused_array(["a", ">f4", [1]], bytes(4)).field == "columns.a"
    assert refused_array(["a", "float32", [-1]], bytes(4)).field == "columns.a"
    assert refused_array(["a", "float32", [True]], bytes(4)).field == "columns.a"
    assert refused_array(["a", "float32", [2**62, 4]], bytes(4)).field == "columns.a"
    assert refused_array(["a", "float32", [2**62, 0, 2**62]]).field == "columns.a"
    assert refused_array(["a", "float32", [1] * 9], bytes(4)).field == "columns.a"
    assert refused_array(["a", "bool", [1]], b"\x02").field == "columns.a"
    assert refused_array(["", "bool", [1]], b"\x01").field == "arrays"
    assert refused_array(["a" * 201, "bool", [1]], b"\x01").field == "arrays"
    assert refused_array("a", b"\x01").field == "arrays"
    assert refused_header(b"", kind="Ack").field == "arrays"
    assert refused_header(bytes(8), arrays=[entry]).expected == "no arrays in a Ack"
    body = {"epoch": "e", "episode": 0, "first_seq": 0, "task": "", "tag": {}}
    twice = refused_header(bytes(8), bytes(8), kind="Upload", body=body, arrays=[entry, entry])
    assert "second" in twice.got


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(frames=6), "1 to 6 frames"),
        (Limits(frame_bytes=300), "at most 300 bytes a frame"),
        (Limits(total_bytes=1000), "at most 1000 bytes in all"),
        (Limits(header_bytes=80), "at most 80 bytes"),
    ],
)
def test_every_limit_holds_both_ways(limits: Limits, expected: str) -> None:
    big = replace(EXAMPLES[1], columns={**COLUMNS, "big": np.zeros(1000, np.uint8)})
    frames = [bytes(f) for f in encode(big)]
    assert same(decode(frames), big)
    assert refused(frames, limits).expected == expected
    with pytest.raises(MessageError, match=expected):
        encode(big, limits)


def test_only_plain_arrays_are_encoded() -> None:
    for bad in (np.array([None]), np.zeros(2, ">f4"), np.zeros(2, np.complex64)):
        with pytest.raises(MessageError, match=r"columns\.a"):
            encode(Upload("e", 0, 0, "", {"a": bad}))


def test_arrays_travel_without_a_copy() -> None:
    array = np.zeros((2, 3), np.float32)
    frames = encode(Upload("e", 0, 0, "", {"a": array, "t": array.T}))
    array[0, 1] = 7
    assert np.frombuffer(frames[1], np.float32)[1] == 7
    message = decode(frames)
    assert isinstance(message, Upload)
    assert np.shares_memory(message.columns["a"], array)
    assert message.columns["t"].shape == (3, 2)


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(MessageError, match="header"):
        encode(Event("log", "\ud800"))
    assert refused([msgpack.packb(header()).replace(b"\xa1e", b"\xa1\xff")]).field == "header"
