"""The schema of a `SQLiteStore`: how each version of it is made from the one before."""

from __future__ import annotations

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE jobs (
            id TEXT NOT NULL PRIMARY KEY,
            application TEXT NOT NULL,
            owner TEXT,
            key TEXT,
            status TEXT NOT NULL,
            attempt INTEGER NOT NULL,
            wake_at REAL NOT NULL,
            callback_at REAL,
            record BLOB NOT NULL,
            request BLOB,
            body BLOB
        ) WITHOUT ROWID
        """,
        # The status, of which it knows all, lets SQLite count in the index alone.
        """
        CREATE INDEX waiting ON jobs (application, wake_at, id, status)
        WHERE status = 'accepted'
        """,
        "CREATE INDEX running ON jobs (wake_at, id) WHERE status = 'running'",
        """
        CREATE INDEX finished ON jobs (wake_at, id)
        WHERE status IN ('succeeded', 'failed', 'canceled')
        """,
        "CREATE INDEX callbacks ON jobs (application, callback_at, id) WHERE callback_at IS NOT NULL",
        "CREATE INDEX owned ON jobs (owner, application, id) WHERE owner IS NOT NULL",
        "CREATE UNIQUE INDEX keyed ON jobs (key) WHERE key IS NOT NULL",
        """
        CREATE TABLE pieces (
            job_id TEXT NOT NULL,
            attempt INTEGER NOT NULL,
            position INTEGER NOT NULL,
            data BLOB NOT NULL,
            PRIMARY KEY (job_id, attempt, position)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX request_pieces ON pieces (job_id) WHERE attempt = 0",
        "CREATE TABLE changes (cursor INTEGER PRIMARY KEY, ids TEXT NOT NULL)",
    ),
    (
        "ALTER TABLE jobs ADD COLUMN queue TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE jobs ADD COLUMN turn INTEGER",
        "DROP INDEX waiting",
        "DROP INDEX running",
        # What waits is in one of the first two: ready, or early. Where the status is among the columns, of which it
        # knows all, it lets SQLite count in the index alone.
        "CREATE INDEX ready ON jobs (application, queue, turn, id) WHERE turn IS NOT NULL",
        """
        CREATE INDEX early ON jobs (application, wake_at, id, status)
        WHERE status = 'accepted' AND turn IS NULL
        """,
        "CREATE INDEX lanes ON jobs (application, queue, owner, turn) WHERE turn IS NOT NULL",
        # As short as what runs, so it need not be sorted by the end of the lease.
        """
        CREATE INDEX running ON jobs (application, queue, wake_at, id, status)
        WHERE status = 'running'
        """,
        """
        CREATE INDEX unfinished ON jobs (application, owner)
        WHERE owner IS NOT NULL AND status IN ('accepted', 'running')
        """,
        """
        CREATE TABLE histories (
            application TEXT NOT NULL,
            route TEXT NOT NULL,
            seconds BLOB NOT NULL,
            PRIMARY KEY (application, route)
        ) WITHOUT ROWID
        """,
    ),
    (
        "ALTER TABLE jobs ADD COLUMN offered_at REAL",
        # Of jobs in a broker alone, so that others are in none more than before.
        "CREATE INDEX offered ON jobs (application, queue, offered_at, id) WHERE offered_at IS NOT NULL",
    ),
    (
        # In a tree that is ordered by number only the leaves have rows in them. Ordered by id it had some in each node,
        # which so had few branches, and was twice as deep.
        """
        CREATE TABLE numbered (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            application TEXT NOT NULL,
            owner TEXT,
            key TEXT,
            status TEXT NOT NULL,
            attempt INTEGER NOT NULL,
            wake_at REAL NOT NULL,
            callback_at REAL,
            queue TEXT NOT NULL,
            turn INTEGER,
            offered_at REAL,
            record BLOB NOT NULL,
            request BLOB,
            body BLOB
        )
        """,
        """
        INSERT INTO numbered
            (id, application, owner, key, status, attempt, wake_at, callback_at, queue, turn, offered_at, record,
            request, body)
        SELECT
            id, application, owner, key, status, attempt, wake_at, callback_at, queue, turn, offered_at, record,
            request, body
        FROM jobs ORDER BY id
        """,
        "DROP TABLE jobs",
        "ALTER TABLE numbered RENAME TO jobs",
        "CREATE INDEX ready ON jobs (application, queue, turn, id) WHERE turn IS NOT NULL",
        """
        CREATE INDEX early ON jobs (application, wake_at, id, status)
        WHERE status = 'accepted' AND turn IS NULL
        """,
        "CREATE INDEX lanes ON jobs (application, queue, owner, turn) WHERE turn IS NOT NULL",
        "CREATE INDEX running ON jobs (application, queue, wake_at, status) WHERE status = 'running'",
        """
        CREATE INDEX unfinished ON jobs (application, owner)
        WHERE owner IS NOT NULL AND status IN ('accepted', 'running')
        """,
        "CREATE INDEX finished ON jobs (wake_at) WHERE status IN ('succeeded', 'failed', 'canceled')",
        "CREATE INDEX callbacks ON jobs (application, callback_at, id) WHERE callback_at IS NOT NULL",
        "CREATE INDEX owned ON jobs (owner, application, id) WHERE owner IS NOT NULL",
        "CREATE UNIQUE INDEX keyed ON jobs (key) WHERE key IS NOT NULL",
        "CREATE INDEX offered ON jobs (application, queue, offered_at, id) WHERE offered_at IS NOT NULL",
    ),
)
"""The statements that lead from each version of the schema to the next; from an empty file to version 1 first."""
