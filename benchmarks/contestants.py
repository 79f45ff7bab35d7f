"""Who is measured: bare frameworks, deferit with stores and executors, and peers as their documentation has them."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.servers import GUNICORN, PEERS, UVICORN, Contestant
from benchmarks.services import durable_redis, postgres, quick_redis

APPS = "benchmarks.apps"

STARLETTE = Contestant("Starlette", UVICORN, f"{APPS}.bare_starlette:app", monitor="/reports/1")
FASTAPI = Contestant("FastAPI", UVICORN, f"{APPS}.bare_fastapi:app", monitor="/reports/1")
FLASK = Contestant("Flask", GUNICORN, f"{APPS}.bare_flask:app", monitor="/reports/1")

# --- deferit ---------------------------------------------------------------------------------------------------------

ANY_NUMBER = str(10**9)
"""Of waiting jobs: workers elsewhere are not to keep up with what is accepted."""


def _deferit(bare: Contestant) -> Contestant:
    app = bare.app.replace("bare_", "deferit_")
    return replace(bare, name=f"deferit on {bare.name}", app=app, monitor="", result="/result")


ON_STARLETTE, ON_FASTAPI, ON_FLASK = _deferit(STARLETTE), _deferit(FASTAPI), _deferit(FLASK)


def _stored(contestant: Contestant) -> list[Contestant]:
    """Return it with the stores that are servers."""
    stores = {"Redis": durable_redis, "PostgreSQL": postgres}
    return [
        replace(contestant, name=f"{contestant.name}, {name}", services={"DEFERIT_STORE": service})
        for name, service in stores.items()
    ]


def _executed(contestant: Contestant) -> list[Contestant]:
    """Return it with executors in other processes."""
    module = contestant.app.partition(":")[0]
    settings = {"DEFERIT_MAX_QUEUE": ANY_NUMBER}
    return [
        replace(
            contestant,
            name=f"{contestant.name}, work",
            environment=settings | {"DEFERIT_EXECUTOR": "worker"},
            programs=(("-m", "deferit", "work", contestant.app),),
        ),
        replace(
            contestant,
            name=f"{contestant.name}, Celery",
            environment=settings,
            services={"BENCHMARK_BROKER": quick_redis},
            programs=(("-m", "celery", "-A", f"{module}:celery", "worker", "-l", "WARNING"),),
        ),
    ]


STORED = {bare: _stored(ours) for bare, ours in ((STARLETTE, ON_STARLETTE), (FLASK, ON_FLASK))}
EXECUTED = {bare: _executed(ours) for bare, ours in ((STARLETTE, ON_STARLETTE), (FLASK, ON_FLASK))}

# --- peers -----------------------------------------------------------------------------------------------------------


def _of_peers(contestant: Contestant) -> Contestant:
    """Return it as it runs with the packages of benchmarks/requirements.txt."""
    kind = replace(contestant.kind, python=PEERS)
    return replace(contestant, name=f"{contestant.name}, as for peers", kind=kind)


PEERS_FASTAPI, PEERS_FLASK = _of_peers(FASTAPI), _of_peers(FLASK)


def _peer(
    bare: Contestant, name: str, module: str, *program: str, redis: bool = False
) -> Contestant:
    return replace(
        bare,
        name=name,
        app=f"{APPS}.peers.{module}:app",
        monitor="",
        programs=(program,) if program else (),
        services={"BENCHMARK_REDIS": quick_redis} if redis else {},
    )


_CELERY = ("-m", "celery", "-A", f"{APPS}.peers.flask_celery:celery", "worker", "-l", "WARNING")
_HUEY = (
    "-m",
    "huey.bin.huey_consumer",
    f"{APPS}.peers.flask_huey.huey",
    "-k",
    "process",
    "-w",
    "4",
)
_SAQ = ("-m", "saq", f"{APPS}.peers.fastapi_saq.settings")

PEERS_ON_FASTAPI = [
    _peer(PEERS_FASTAPI, "FastAPI BackgroundTasks + dict", "fastapi_background"),
    _peer(PEERS_FASTAPI, "FastAPI + SAQ (Redis)", "fastapi_saq", *_SAQ, redis=True),
    _peer(PEERS_FASTAPI, "FastAPI + DBOS (SQLite)", "fastapi_dbos"),
]
PEERS_ON_FLASK = [
    _peer(PEERS_FLASK, "Flask + Celery (Redis)", "flask_celery", *_CELERY, redis=True),
    _peer(PEERS_FLASK, "Flask + Huey (SQLite)", "flask_huey", *_HUEY),
]
