"""Heroes in a database, on FastAPI: models, a session for each request, a lifespan that makes the tables."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, Field

DATABASE = "heroes.db"


class HeroCreate(BaseModel):
    name: str = Field(min_length=1)
    age: int | None = None


class HeroPublic(HeroCreate):
    id: int


def get_session() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(DATABASE, check_same_thread=False)) as session:
        session.row_factory = sqlite3.Row
        yield session


SessionDep = Annotated[sqlite3.Connection, Depends(get_session)]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    with closing(sqlite3.connect(DATABASE)) as session:
        session.execute("CREATE TABLE IF NOT EXISTS hero (id INTEGER PRIMARY KEY, name, age)")
    app.state.train = str.title
    yield


app = FastAPI(lifespan=lifespan)


@app.post("/heroes/", response_model=HeroPublic, status_code=201)
def create_hero(hero: HeroCreate, session: SessionDep) -> dict[str, object]:
    name = app.state.train(hero.name)
    values = name, hero.age
    row = session.execute("INSERT INTO hero (name, age) VALUES (?, ?) RETURNING *", values)
    created = dict(row.fetchone())
    session.commit()
    return created


@app.get("/heroes/{hero_id}", response_model=HeroPublic)
def read_hero(hero_id: int, session: SessionDep) -> dict[str, object]:
    row = session.execute("SELECT * FROM hero WHERE id = ?", (hero_id,)).fetchone()
    if row is None:
        raise HTTPException(status_code=404, detail="Hero not found")
    return dict(row)
