"""The entries, and the slow view that prints all of one's own as a book."""

from flask import Blueprint, abort, current_app, flash, g, redirect, request, url_for
from flask.typing import ResponseReturnValue

from .auth import login_required
from .db import get_db

bp = Blueprint("book", __name__)


@bp.route("/")
def index() -> ResponseReturnValue:
    rows = get_db().execute("SELECT text FROM entry ORDER BY id DESC")
    return {"entries": [row["text"] for row in rows]}


@bp.post("/entries")
@login_required
def create() -> ResponseReturnValue:
    values = g.writer["id"], request.form["text"]
    get_db().execute("INSERT INTO entry (writer_id, text) VALUES (?, ?)", values)
    get_db().commit()
    return redirect(url_for("book.index"))


@bp.route("/print", methods=("GET", "POST"))
@login_required
def print_book() -> ResponseReturnValue:
    if request.method == "GET":
        return '<form method="post"><input name="title"><button>Print'
    title = request.form["title"]
    if not title:
        abort(400, "A book has a title.")
    rows = get_db().execute("SELECT text FROM entry WHERE writer_id = ?", (g.writer["id"],))
    pages = [current_app.config["PRESS"](row["text"]) for row in rows]
    flash(f"{title} has {len(pages)} pages.")
    return "\f".join([title, *pages]), 201, {"Content-Type": "text/plain; charset=utf-8"}
