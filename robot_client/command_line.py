"""`dreamfleet-robot`: run a robot, check one, enrol one, look into a spool, or see a doctor."""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from robot_client import __version__, arguments
from robot_client.clock import Clock, FreeRunningClock, SystemClock
from robot_client.errors import DreamfleetError, SpoolError
from robot_client.names import NAME_RULE
from robot_client.robot import Robot
from robot_client.robots import HARDWARE, ROBOTS, fit, make_robot
from robot_client.schema import NO_POLICY, space_to_json
from robot_client.teleop import DeadMan
from robot_client.teleops import make_teleop

if TYPE_CHECKING:
    from robot_client.link import CurveKeys
    from robot_client.messages import Hello
    from robot_client.policy_cache import PolicyCache
    from robot_client.ports import Episode
    from robot_client.spool import Spool

_HOME = Path("~/.dreamfleet")
_HOLD_AFTER = "hold after so long without a word of who drives (%(default)s)"
_YIELD_AFTER = "and after so long go on with the policy, or stop until resumed (%(default)s)"
_SIMULATED_SILENCE_S = 60.0  # a busy machine may slow a simulation down, which endangers nobody


def run_command(argv: list[str] | None, parent: int) -> int:
    """Run a command; its exit status as `robot_client.cli.main` has it.

    `parent` is the process that started this one, when it did.
    """
    args = _parser().parse_args(argv, argparse.Namespace(parent=parent))
    try:
        return int(args.command(args) or 0)
    except DreamfleetError as error:
        print(f"dreamfleet-robot: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dreamfleet-robot", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="run|check|doctor|enrol|spool")
    _add_run(commands.add_parser("run", help="act with a robot, and stream what it sees"))
    check = commands.add_parser("check", help="exercise a robot against the contract; it moves")
    _add_robot(check)
    check.add_argument("--unseeded", action="store_true", help="resets need not be repeatable")
    check.add_argument("--json", action="store_true", help="print an object")
    check.set_defaults(command=_check)
    _add_enrol(commands.add_parser("enrol", help="make this robot's key, for a server elsewhere"))
    _add_doctor(commands.add_parser("doctor", help="can this machine run a robot? Nothing moves"))
    _add_spool(commands.add_parser("spool", help="see, check, save or give up what waits on disk"))
    completion = commands.add_parser("completion", help="print a script for a shell to read")
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    completion.set_defaults(command=_completion)
    return parser


def _add_robot(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    about = "name in the table of robots, gym:ID, or module:Class"
    parser.add_argument("robot", nargs=nargs, help=about)
    parser.add_argument(
        "--options",
        type=arguments.json_object,
        default={},
        metavar="JSON",
        help="its keyword arguments",
    )
    parser.add_argument(
        "--fit",
        action="append",
        default=[],
        metavar="ROBOT",
        help="learn together with this robot, in spaces common to both; may be repeated",
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    _add_robot(parser)
    add = parser.add_argument
    _add_place(parser)
    add(
        "--speed",
        type=arguments.speed,
        default=1.0,
        help="of a simulation: times real time, or max",
    )
    add("--episodes", type=arguments.count, help="end after so many episodes")
    add("--steps", type=arguments.count, help="end after so many control steps")
    add("--seed", type=arguments.whole, help="of resets and of the policy's noise")
    add("--act", choices=["actor", "planner"], help="by policy or by planning; as it is learned")
    add("--plan", type=arguments.plan, default={}, metavar="JSON", help="plan settings to replace")
    add("--eval", action="store_true", help="act without exploring")
    add("--teleop", metavar="NAME", help="let a person drive: gamepad, keyboard, script {...}")
    add(
        "--hold-after",
        type=arguments.seconds,
        metavar="S",
        default=DeadMan.hold_s,
        help=_HOLD_AFTER,
    )
    add(
        "--yield-after",
        type=arguments.seconds,
        metavar="S",
        default=DeadMan.yield_s,
        help=_YIELD_AFTER,
    )
    add("--then", choices=["policy", "stop"], default=DeadMan.then, help="... (%(default)s)")
    add("--json", action="store_true", help="print an object per episode, and one at the end")
    add("--with-parent", action="store_true", help="stop when the starting process dies (Linux)")
    parser.set_defaults(command=_run)


def _add_name(parser: argparse.ArgumentParser) -> None:
    about = f"name of this robot (%(default)s): {NAME_RULE}"
    parser.add_argument("--name", type=arguments.name, default=socket.gethostname(), help=about)


def _add_place(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--server", default="tcp://127.0.0.1:5555", help="address of the gateway (%(default)s)")
    _add_name(parser)
    add("--spool", type=Path, help=f"folder for unsent rows ({_HOME}/NAME/spool)")
    add("--cache", type=Path, help=f"folder for policies ({_HOME}/NAME/cache)")
    add("--server-key", type=Path, help=f"the server's public key ({_HOME}/NAME/server.pub)")
    add("--key", type=Path, help=f"this robot's key ({_HOME}/NAME/robot.key)")


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    _add_robot(parser, nargs="?")
    _add_place(parser)
    parser.add_argument("--api", help="address of the server's REST API (port 8000 of the gateway)")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.set_defaults(command=_doctor)


def _add_spool(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, nargs="?", help=f"all of {_HOME}/*/spool if none")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--verify", action="store_true", help="read every row; status 1 if one fails")
    what.add_argument("--export", type=Path, metavar="OUT", help="copy the rows to a new folder")
    text = "give up the rows that wait, whose number this must be"
    what.add_argument("--discard", type=int, metavar="ROWS", help=text)
    parser.add_argument("--json", action="store_true", help="print an object per spool")
    parser.set_defaults(command=_spool)


def _add_enrol(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    _add_name(parser)
    add("--server-key", metavar="KEY", help="the server's public key, or a file that holds it")
    add("--replace", action="store_true", help="make a new key, in place of the one it has")
    add("--json", action="store_true", help="print an object")
    parser.set_defaults(command=_enrol)


def _robot(args: argparse.Namespace) -> Robot:
    """A robot's class may be in a file of this folder, which an installed command does not see."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, so that no file there hides a module
    robot = make_robot(args.robot, **args.options)
    return fit([robot, *map(make_robot, args.fit)])[0] if args.fit else robot


def _run(args: argparse.Namespace) -> None:
    from robot_client.halting import halted_by_signals
    from robot_client.link import Link
    from robot_client.messages import GOODBYE, Event
    from robot_client.runtime import Runtime
    from robot_client.safety import EmergencyStop, Limits
    from robot_client.shown import summary_lines
    from robot_client.spool import Spool
    from robot_client.takeover import Takeover
    from robot_client.tidings import told_on

    robot = _robot(args)
    dead_man = DeadMan(args.hold_after, args.yield_after, args.then)
    teleop = make_teleop(args.teleop) if args.teleop else None
    spool_folder = (args.spool or _HOME / args.name / "spool").expanduser()
    spool = Spool(spool_folder, task=robot.task.name)
    clock = _clock(args.speed)
    cache = _cache(args, robot, clock)
    link = Link(
        args.server,
        _hello(args.name, robot, spool),
        spool,
        cache,
        heartbeat=lambda: runtime.heartbeat(),
        on_command=lambda command: runtime.command(command),
        clock=SystemClock(),
        keys=_keys(args),
        on_drive=lambda message: runtime.drive(message),
    )
    real_time = args.speed == 1
    runtime = Runtime(
        robot,
        spool,
        cache,
        clock,
        link=link,
        takeover=Takeover(robot.action_space, dead_man, teleop),
        explore=not args.eval,
        seed=args.seed,
        limits=None if real_time else Limits(observation_s=float("inf")),
        estop=EmergencyStop(_cache_folder(args) / "estop"),
        silence_s=None if real_time else _SIMULATED_SILENCE_S,
        max_episodes=args.episodes,
        max_steps=args.steps,
        halted=halted_by_signals(args.parent if args.with_parent else None),
        on_episode=lambda episode: _show(episode, args.json),
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(told_on(sys.stderr, "dreamfleet-robot", SystemClock()))
        stack.callback(spool.close)
        if teleop is not None:
            stack.callback(teleop.close)
            teleop.connect(robot.action_space)
        for part in (cache, link):
            part.start()
            stack.callback(part.close)
        summary = runtime.run()
        link.send(Event(GOODBYE, "ended as it was told to"))  # whoever dies is missed instead
    _print({"summary": asdict(summary)}, args.json, summary_lines(summary))


def _cache_folder(args: argparse.Namespace) -> Path:
    return Path(args.cache or _HOME / args.name / "cache").expanduser()


def _cache(args: argparse.Namespace, robot: Robot, clock: Clock) -> PolicyCache:
    from robot_client.act import BUDGET_SHARE, Act
    from robot_client.policy_cache import PolicyCache

    act = Act(args.act, args.plan, BUDGET_SHARE / robot.control_hz, clock, robot.task.name)
    return PolicyCache(_cache_folder(args), robot.observation_space, robot.action_space, act)


def _hello(name: str, robot: Robot, spool: Spool) -> Hello:
    from robot_client.messages import Hello

    return Hello(
        robot=name,
        epoch=spool.epoch,
        observation_space=space_to_json(robot.observation_space),
        action_space=space_to_json(robot.action_space),
        control_hz=robot.control_hz,
        task=robot.task.to_json(),
        first_seq=spool.first_unacked,
        next_seq=spool.next_seq,
        policy_version=NO_POLICY,
        client=f"dreamfleet-robot {__version__}",
    )


def _keys(args: argparse.Namespace) -> CurveKeys | None:
    """Those that are named or, when none is, those that `enrol` has left."""
    from robot_client import keys
    from robot_client.enrol import ROBOT_KEY, SERVER_KEY
    from robot_client.link import CurveKeys

    folder = (_HOME / args.name).expanduser()
    own, server = args.key, args.server_key
    if own is None and server is None:
        own, server = folder / ROBOT_KEY, folder / SERVER_KEY
        if not (own.exists() and server.exists()):
            return None
    if own is None or server is None:
        raise DreamfleetError("--key and --server-key go together")
    newest, *former = keys.read_publics(server)
    return CurveKeys(keys.read(own), newest, tuple(former))


def _clock(speed: float) -> Clock:
    return FreeRunningClock() if speed == float("inf") else SystemClock(speed)


def _show(episode: Episode, as_json: bool) -> None:
    from robot_client.shown import episode_line

    _print({"episode": asdict(episode)}, as_json, [episode_line(episode)])


def _check(args: argparse.Namespace) -> int:
    from robot_client.testing import check_robot

    robot, problem = _robot(args), ""
    try:
        check_robot(robot, seeded=not args.unseeded)
    except DreamfleetError as error:
        if not args.json:
            raise
        problem = str(error)
    found = {"robot": args.robot, "keeps_contract": not problem, "problem": problem}
    _print(found, args.json, [f"{args.robot}: keeps the contract"])
    return int(bool(problem))


def _enrol(args: argparse.Namespace) -> None:
    from robot_client.enrol import enrol
    from robot_client.shown import enrolment_lines

    folder = (_HOME / args.name).expanduser()
    made = enrol(folder, args.name, args.server_key, args.replace)
    _print(asdict(made), args.json, enrolment_lines(made))


def _doctor(args: argparse.Namespace) -> int:
    from robot_client.doctor import Place, examine
    from robot_client.findings import broken, lines

    home = (_HOME / args.name).expanduser()
    place = Place(
        home=home,
        spool=(args.spool or home / "spool").expanduser(),
        cache=(args.cache or home / "cache").expanduser(),
        server=args.server,
        api=args.api or f"http://{urlsplit(args.server).hostname}:8000",
        link_keys=lambda: _keys(args),
        robot=(lambda: _robot(args)) if args.robot else None,
        clock=SystemClock(),
    )
    found = []
    for finding in examine(place):
        found.append(finding)
        if not args.json:
            print(*lines(finding), sep="\n", flush=True)
    if args.json:
        print(json.dumps([asdict(finding) for finding in found]))
    return int(broken(found))


def _spool(args: argparse.Namespace) -> int:
    from robot_client import spool_tools

    if args.directory is None and (args.export or args.discard is not None):
        raise SpoolError("say which directory is meant")
    if args.export:
        return _print_spool(spool_tools.export(args.directory, args.export), args.json)
    if args.discard is not None:
        return _print_spool(spool_tools.discard(args.directory, args.discard), args.json)
    look = spool_tools.verify if args.verify else spool_tools.waiting
    if args.directory is not None:
        return _print_spool(look(args.directory), args.json)
    directories = sorted(_HOME.expanduser().glob("*/spool"))
    if not directories:
        raise SpoolError(f"{_HOME}: no robot has left a spool there")
    worst = 0
    for directory in directories:
        try:
            worst |= _print_spool(look(directory), args.json)
        except SpoolError as error:  # the others can still be looked into
            print(f"dreamfleet-robot: {error}", file=sys.stderr)
            worst = 1
    return worst


def _print_spool(found: dict[str, Any], as_json: bool) -> int:
    from robot_client.shown import spool_lines

    _print(found, as_json, spool_lines(found))
    return int(bool(found.get("problems")))


def _print(found: dict[str, Any], as_json: bool, lines: Iterable[str]) -> None:
    """An object for programs, or lines for people."""
    print(json.dumps(found) if as_json else "\n".join(lines), flush=True)


def _completion(args: argparse.Namespace) -> None:
    from robot_client.completion import script

    print(script(_parser(), args.shell, sorted([*ROBOTS, *HARDWARE])), end="")
