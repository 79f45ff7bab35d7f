"""The SQL of a `PostgresStore`: one name a statement, in the order in which a job meets them."""

from __future__ import annotations

# --- a batch: reads all that its commands name, and writes back, whatever their number ---

BEGIN = "BEGIN"
LOCK = "SELECT pg_advisory_xact_lock(name) FROM unnest(%b::bigint[]) AS name"
TRY_LOCK = "SELECT pg_try_advisory_xact_lock(%b::bigint)"

NAMED = """
    SELECT id, record, wake_at, turn, key, offered_at FROM jobs WHERE id = ANY (%b::text[]) ORDER BY id FOR UPDATE
"""
NAMED_OR_KEYED = """
    SELECT id, record, wake_at, turn, key, offered_at FROM jobs WHERE id = ANY (%b::text[]) OR key = ANY (%b::text[])
    ORDER BY id FOR UPDATE
"""
LANES = """
    SELECT application, queue, owner,
        (
            SELECT min(turn) FROM jobs
            WHERE turn IS NOT NULL AND application = lane.application AND queue = lane.queue
        ),
        (
            SELECT max(turn) FROM jobs
            WHERE turn IS NOT NULL AND application = lane.application AND queue = lane.queue
                AND coalesce('=' || owner, '') = coalesce('=' || lane.owner, '')
        )
    FROM unnest(%b::text[], %b::text[], %b::text[]) AS lane (application, queue, owner)
"""
# With an owner, how many jobs of it are not finished; without one, how many of the application wait.
COUNTS = """
    SELECT application, owner,
        CASE WHEN owner IS NULL THEN (
            SELECT count(*) FROM (
                SELECT FROM jobs WHERE turn IS NOT NULL AND application = counted.application
                UNION ALL
                SELECT FROM jobs
                WHERE status = 'accepted' AND turn IS NULL AND application = counted.application
                LIMIT %b::bigint
            ) AS waiting
        ) ELSE (
            SELECT count(*) FROM (
                SELECT FROM jobs
                WHERE application = counted.application AND owner = counted.owner
                    AND status IN ('accepted', 'running')
                LIMIT %b::bigint
            ) AS unfinished
        ) END
    FROM unnest(%b::text[], %b::text[]) AS counted (application, owner)
"""
COUNT_RUNNING = """
    SELECT count(*) FROM jobs WHERE status = 'running' AND application = %b AND queue = %b
"""

FORGET = "DELETE FROM jobs WHERE id = ANY (%b::text[])"
SAVE = """
    UPDATE jobs SET
        status = saved.status,
        attempt = saved.attempt,
        wake_at = saved.wake_at,
        callback_at = saved.callback_at,
        turn = saved.turn,
        offered_at = saved.offered_at,
        key = saved.key,
        record = saved.record,
        request = CASE WHEN saved.has_request THEN jobs.request END,
        body = CASE WHEN saved.is_body_new THEN saved.body ELSE jobs.body END
    FROM unnest(
        %b::text[], %b::text[], %b::integer[], %b::double precision[], %b::double precision[],
        %b::bigint[], %b::text[], %b::bytea[],
        %b::double precision[], %b::boolean[], %b::boolean[], %b::bytea[]
    ) AS saved (
        id, status, attempt, wake_at, callback_at, turn, key, record,
        offered_at, has_request, is_body_new, body
    )
    WHERE jobs.id = saved.id
"""
CREATE = """
    INSERT INTO jobs (
        id, status, attempt, wake_at, callback_at, turn, key, record,
        application, owner, queue, route, request, body
    )
    SELECT * FROM unnest(
        %b::text[], %b::text[], %b::integer[], %b::double precision[], %b::double precision[],
        %b::bigint[], %b::text[], %b::bytea[],
        %b::text[], %b::text[], %b::text[], %b::text[], %b::bytea[], %b::bytea[]
    )
"""
DROP_PIECES = """
    DELETE FROM pieces USING unnest(%b::text[], %b::integer[], %b::integer[]) AS kept (id, attempt, below)
    WHERE job_id = kept.id AND NOT (pieces.attempt = kept.attempt AND position < kept.below)
"""
APPEND = """
    INSERT INTO pieces (job_id, attempt, position, data) VALUES (%b, %b, %b, %b)
    ON CONFLICT (job_id, attempt, position) DO UPDATE SET data = excluded.data
"""
OBSERVE = """
    INSERT INTO durations (application, route, seconds) VALUES (%b, %b, %b::double precision[])
"""

# --- selections: nobody waits for a job that another process is about to take ---

EARLY = """
    SELECT id, record, wake_at, turn, key, offered_at FROM jobs
    WHERE status = 'accepted' AND turn IS NULL AND application = %b AND wake_at <= %b
    ORDER BY wake_at, id LIMIT %b::bigint FOR UPDATE SKIP LOCKED
"""
# From each name to the next, so that it takes as long as there are names, not jobs.
QUEUES = """
    WITH RECURSIVE queues (name) AS (
        SELECT min(queue) FROM jobs WHERE turn IS NOT NULL AND application = %b
        UNION ALL
        SELECT (
            SELECT min(queue) FROM jobs
            WHERE turn IS NOT NULL AND application = %b AND queue > name
        )
        FROM queues WHERE name IS NOT NULL
    )
    SELECT name FROM queues WHERE name IS NOT NULL
"""
READY = """
    SELECT id, record, wake_at, turn, key, offered_at, CASE WHEN %b::boolean THEN coalesce(
        request,
        (SELECT data FROM pieces WHERE job_id = jobs.id AND attempt = 0 AND position = -1)
    ) END
    FROM jobs
    WHERE turn IS NOT NULL AND application = %b AND queue = %b
    ORDER BY turn, id LIMIT %b::bigint FOR UPDATE SKIP LOCKED
"""
REQUESTS = """
    SELECT id, coalesce(
        request,
        (SELECT data FROM pieces WHERE job_id = jobs.id AND attempt = 0 AND position = -1)
    )
    FROM jobs WHERE id = ANY (%b::text[])
"""
LOST = """
    SELECT id, record, wake_at, turn, key, offered_at FROM jobs
    WHERE status = 'running' AND wake_at <= %b
    ORDER BY wake_at, id LIMIT %b::bigint FOR UPDATE SKIP LOCKED
"""
OVER = """
    SELECT id, record, wake_at, turn, key, offered_at FROM jobs
    WHERE status IN ('succeeded', 'failed', 'canceled') AND wake_at <= %b
    ORDER BY wake_at, id LIMIT %b::bigint FOR UPDATE SKIP LOCKED
"""
# Of the next pieces behind a job, those of jobs that are not there; and where to go on, if there are more.
ORPHANS = """
    WITH stretch AS MATERIALIZED (
        SELECT job_id FROM pieces
        WHERE attempt = 0 AND job_id > %b AND job_id < %b ORDER BY job_id LIMIT 1000
    )
    SELECT
        (SELECT max(job_id) FROM stretch HAVING count(*) = 1000),
        ARRAY (
            SELECT DISTINCT job_id FROM stretch
            WHERE NOT EXISTS (SELECT FROM jobs WHERE id = job_id) ORDER BY job_id LIMIT %b::bigint
        )
"""
DUE_CALLBACKS = """
    SELECT id, record, wake_at, turn, key, offered_at FROM jobs
    WHERE application = %b AND callback_at <= %b
    ORDER BY callback_at, id LIMIT %b::bigint FOR UPDATE SKIP LOCKED
"""

# --- the end of a batch ---

CHANGED = "INSERT INTO changes (writer, batch, ids) VALUES (%b, %b, %b::text[])"
COMMIT = "COMMIT"
TELL = "SELECT pg_notify(%b, %b)"
# Each only if nobody else is at it.
TRIM_CHANGES = """
    WITH chance AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(%b::bigint) AS is_ours)
    DELETE FROM changes USING chance
    WHERE is_ours AND transaction <= (
        SELECT transaction FROM changes ORDER BY transaction DESC OFFSET %b::bigint LIMIT 1
    )
"""
TRIM_DURATIONS = """
    WITH chance AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(%b::bigint) AS is_ours)
    DELETE FROM durations USING chance, (
        SELECT id, row_number() OVER (PARTITION BY application, route ORDER BY id DESC) AS age
        FROM durations
    ) AS known
    WHERE is_ours AND durations.id = known.id AND age > %b
"""
# What a restored dump brings is of another server's transactions.
FORGET_THE_FUTURE = """
    DELETE FROM changes WHERE transaction >= pg_snapshot_xmax(pg_current_snapshot())
"""
# A lock that ends with the session: whoever gets it knows that all of the session is over.
SIGN_IN = "SELECT pg_advisory_lock(%b::bigint)"
IS_OVER = "SELECT pg_try_advisory_lock(%b::bigint)"
# It is written once more, so that the answer comes when the batch is where commits have to be: as the server ends a
# session that waits for a synchronous standby, its transaction is visible, and may be nowhere else.
WAS_KEPT = "UPDATE changes SET batch = batch WHERE writer = %b AND batch = %b RETURNING 1"

# --- queries ---

GET = "SELECT record FROM jobs WHERE id = %b"
GET_ALL = "SELECT id, record FROM jobs WHERE id = ANY (%b::text[])"
REMAINS = "SELECT application, owner, key, queue, status, attempt, wake_at FROM jobs WHERE id = %b"
LOAD = """
    SELECT data FROM pieces WHERE job_id = %b AND attempt = %b AND position = %b
    UNION ALL
    SELECT body FROM jobs WHERE id = %b AND attempt = %b AND 0 = %b AND body IS NOT NULL
"""
POSITION = """
    SELECT
        CASE WHEN job.status <> 'accepted' THEN 0 ELSE (
            SELECT count(*) FROM (
                SELECT FROM jobs
                WHERE offered_at IS NOT NULL AND application = job.application AND queue = job.queue
                    AND (offered_at, id) < (coalesce(job.offered_at, 'infinity'), job.id)
                UNION ALL
                SELECT FROM jobs
                WHERE turn IS NOT NULL AND application = job.application AND queue = job.queue
                    AND (turn, id) < (coalesce(job.turn, 9223372036854775807), job.id)
                    AND job.offered_at IS NULL
                LIMIT %b::bigint
            ) AS ahead
        ) END,
        (
            SELECT count(*) FROM (
                SELECT FROM jobs WHERE status = 'running' AND application = job.application LIMIT %b::bigint
            ) AS running
        )
    FROM jobs AS job WHERE job.id = %b
"""
DUE = """
    SELECT
        EXISTS (SELECT FROM jobs WHERE turn IS NOT NULL AND application = %b)
        OR EXISTS (
            SELECT FROM jobs
            WHERE status = 'accepted' AND turn IS NULL AND application = %b AND wake_at <= %b
        )
"""
LIST = """
    SELECT id, record FROM jobs
    WHERE application = %b AND owner = %b AND id < %b
        AND (%b::text IS NULL OR status = %b) AND (%b::text IS NULL OR route = %b)
    ORDER BY id DESC LIMIT %b::bigint
"""
LIST_ALL = """
    SELECT id, record FROM jobs
    WHERE application = %b AND id < %b
        AND (%b::text IS NULL OR status = %b) AND (%b::text IS NULL OR route = %b)
    ORDER BY id DESC LIMIT %b::bigint
"""
HISTORY = """
    SELECT seconds FROM durations WHERE application = %b AND route = %b ORDER BY id DESC LIMIT %b::bigint
"""
SNAPSHOT = "SELECT pg_current_snapshot()::text"
# What is visible now and was not then: in whatever order it was committed.
CHANGES = """
    SELECT pg_current_snapshot()::text, ids
    FROM (SELECT) AS now LEFT JOIN changes
        ON transaction >= pg_snapshot_xmin(%b::text::pg_snapshot)
        AND NOT pg_visible_in_snapshot(transaction, %b::text::pg_snapshot)
"""
ALL_CHANGES = (
    "SELECT pg_current_snapshot()::text, ids FROM (SELECT) AS now LEFT JOIN changes ON true"
)
OTHERS = """
    SELECT 1 FROM changes
    WHERE transaction >= pg_snapshot_xmin(%b::text::pg_snapshot)
        AND NOT pg_visible_in_snapshot(transaction, %b::text::pg_snapshot)
        AND writer <> %b AND ids <> '{}'
    LIMIT 1
"""
