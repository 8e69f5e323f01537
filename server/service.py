"""The whole server in one place: database, experiments with their learners, and gateway."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from robot_client.clock import SystemClock
from server.access import curve_of, refuse_open_doors
from server.agent_catalog import AgentCatalog
from server.directory import Directory
from server.errors import SettingsError
from server.experiments import Experiments
from server.fleet import Fleet
from server.gateway import Gateway
from server.lifeline import absence, alive
from server.settings import Settings
from server.storage import Storage, Writer
from server.version_files import blob_path


@dataclass(frozen=True)
class Service:
    """What the routes and the commands work with, while the server runs."""

    settings: Settings
    storage: Storage
    experiments: Experiments
    catalog: AgentCatalog
    fleet: Fleet
    writer: Writer


@asynccontextmanager
async def run_service(settings: Settings) -> AsyncIterator[Service]:
    """Open everything in order; close robots' door first, then learners, then the database.

    Raises SettingsError when the settings would let strangers in, an address is taken, the data
    cannot be written, or another server works on it; AccessError or LinkError when keys or tokens
    cannot be read.
    """
    refuse_open_doors(settings)
    with _alone(settings.data):
        async with _open(settings) as service:
            yield service


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Hold the data directory's lock, which falls when the process ends, however it ends."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        opened = (data / "server.lock").open("w")
    except OSError as error:
        got = f"{data} ({error.strerror})"
        raise SettingsError(f"--data: expected a folder that can be written, got {got}") from error
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(f"another server is working on {data}") from error
        yield


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[Service]:
    async with open_storage(settings) as (storage, writer):
        catalog = AgentCatalog()
        experiments = Experiments(settings, storage, writer, catalog)
        await experiments.load()
        clock = SystemClock()
        if away := await asyncio.to_thread(absence, settings.data, clock.wall()):
            experiments.tell_absence(away)
            await writer.settle()
        gateway = _gateway(settings, experiments)
        await gateway.start()
        try:
            async with alive(settings.data, clock):
                await experiments.open(gateway)
                catalog.preload()
                yield Service(settings, storage, experiments, catalog, gateway, writer)
        finally:
            await gateway.stop()
            await experiments.close()
            await catalog.close()


@asynccontextmanager
async def open_storage(settings: Settings) -> AsyncIterator[tuple[Storage, Writer]]:
    """The migrated database and its writer; what was put is saved when it closes."""
    storage = Storage(settings.database_url)
    try:
        await asyncio.to_thread(storage.migrate)
        writer = Writer(storage)
        await writer.start()
        try:
            yield storage, writer
        finally:
            await writer.close()
    finally:
        storage.close()


def _gateway(settings: Settings, directory: Directory) -> Gateway:
    return Gateway(
        settings.gateway,
        directory,
        replay_dir=lambda experiment: settings.experiment_dir(experiment) / "replay",
        blob_path=lambda experiment, digest: blob_path(settings.experiment_dir(experiment), digest),
        clock=SystemClock(),
        curve=curve_of(settings.data, locked=not settings.gateway_is_loopback),
    )
