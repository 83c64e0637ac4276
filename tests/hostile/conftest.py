"""The houses, and what must hold after every attack.

After each test an ordinary page and a poll are answered within a second by the same process, the victim gets its
next secret, no byte of any secret was seen by an attacker, and the server's log holds no traceback.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from hostile.house import FOLDER, STARTERS, WITH_SOCKETS, House
from support.servers import started


@pytest.fixture(scope="session", params=STARTERS)
def _house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    environment = {"PYTHONPATH": os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")])}
    with started(request.param, STARTERS[request.param], folder, cwd=FOLDER, env=environment) as server:
        yield House(server)


@pytest.fixture
def house(_house: House) -> Iterator[House]:
    _house.spoils.clear()
    _house.tell_victim()
    logged = len(_house.server.log())
    yield _house
    _house.check(logged)


@pytest.fixture
def sockets(house: House) -> House:
    """A house that has WebSockets."""
    if house.name not in WITH_SOCKETS:
        pytest.skip(f"{house.name} has no WebSockets")
    return house
