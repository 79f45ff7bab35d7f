"""The SQL of a `SQLiteStore`: one name a statement, in the order in which a job meets them."""

CREATE = """
    INSERT INTO jobs
        (id, application, owner, key, status, attempt, wake_at, record, request, queue, turn)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
CREATE_MANY = """
    INSERT INTO jobs (id, application, owner, status, attempt, wake_at, queue, record, request)
    VALUES {rows} ON CONFLICT DO NOTHING
"""
CREATE_MANY_COLUMNS = 9
CREATE_MANY_WAITING = """
    INSERT INTO jobs (id, application, owner, status, attempt, wake_at, queue, record, request, turn)
    VALUES {rows} ON CONFLICT DO NOTHING
"""
CREATE_MANY_WAITING_COLUMNS = 10
KEYED = "SELECT id, record FROM jobs WHERE key = ?"
FREE_KEY = "UPDATE jobs SET key = NULL WHERE id = ?"
GET = "SELECT id, record FROM jobs WHERE id = ?"
REMAINS = """
    SELECT application, owner, key, queue, status, attempt, wake_at FROM jobs WHERE id = ?
"""
COUNT_WAITING = """
    SELECT count(*) FROM (
        SELECT 1 FROM jobs WHERE turn IS NOT NULL AND application = ?1
        UNION ALL
        SELECT 1 FROM jobs WHERE status = 'accepted' AND turn IS NULL AND application = ?1
        LIMIT ?2
    )
"""
COUNT_OWNED = """
    SELECT count(*) FROM (
        SELECT 1 FROM jobs WHERE application = ? AND owner = ? AND status IN ('accepted', 'running')
        LIMIT ?
    )
"""
COUNT_RUNNING = """
    SELECT count(*) FROM jobs WHERE status = 'running' AND application = ? AND queue = ?
"""
HEAD = "SELECT min(turn) FROM jobs WHERE turn IS NOT NULL AND application = ? AND queue = ?"
LAST = """
    SELECT max(turn) FROM jobs
    WHERE turn IS NOT NULL AND application = ? AND queue = ? AND owner IS ?
"""
EARLY = """
    SELECT id, queue, owner, offered_at FROM jobs
    WHERE status = 'accepted' AND turn IS NULL AND application = ? AND wake_at <= ?
    ORDER BY wake_at, id LIMIT ?
"""
MAKE_READY = "UPDATE jobs SET turn = ?, offered_at = NULL WHERE id = ? AND turn IS NULL"
# From each name to the next, so that it takes as long as there are names, not jobs.
QUEUES = """
    WITH RECURSIVE queues (name) AS (
        SELECT min(queue) FROM jobs WHERE turn IS NOT NULL AND application = ?1
        UNION ALL
        SELECT (
            SELECT min(queue) FROM jobs
            WHERE turn IS NOT NULL AND application = ?1 AND queue > name
        )
        FROM queues WHERE name IS NOT NULL
    )
    SELECT name FROM queues WHERE name IS NOT NULL
"""
READY = """
    SELECT id, record FROM jobs
    WHERE turn IS NOT NULL AND application = ? AND queue = ? ORDER BY turn, id LIMIT ?
"""
CLAIM_MANY = """
    UPDATE jobs SET status = 'running', turn = NULL, offered_at = NULL, attempt = claimed.column2,
        wake_at = claimed.column3, record = claimed.column4
    FROM (VALUES {rows}) AS claimed WHERE jobs.id = claimed.column1 RETURNING id, request
"""
CLAIM_MANY_COLUMNS = 4
OFFER = """
    UPDATE jobs SET turn = NULL, offered_at = coalesce(offered_at, ?), wake_at = ? WHERE id = ?
"""
RENEW = "UPDATE jobs SET wake_at = ? WHERE id = ? AND attempt = ? AND status = 'running'"
REPORT = "UPDATE jobs SET record = ? WHERE id = ?"
RETURN = "UPDATE jobs SET status = 'accepted', wake_at = ?, record = ? WHERE id = ?"
FINISH = """
    UPDATE jobs SET status = ?, turn = NULL, offered_at = NULL, wake_at = ?, record = ?,
        request = NULL, body = ?, key = ?, callback_at = ?
    WHERE id = ?
"""
FINISH_MANY = """
    UPDATE jobs SET status = ended.column3, wake_at = ended.column4, record = ended.column5,
        request = NULL, body = ended.column6
    FROM (VALUES {rows}) AS ended WHERE jobs.id = ended.column1 AND jobs.record = ended.column2
"""
FINISH_MANY_COLUMNS = 6
FORGET = "DELETE FROM jobs WHERE id = ?"
LOST = """
    SELECT id, record FROM jobs
    WHERE status = 'running' AND wake_at <= ? ORDER BY wake_at, id LIMIT ?
"""
OVER = """
    SELECT id, record FROM jobs
    WHERE status IN ('succeeded', 'failed', 'canceled') AND wake_at <= ? ORDER BY wake_at, id LIMIT ?
"""
DUE_CALLBACKS = """
    SELECT id, record FROM jobs
    WHERE application = ? AND callback_at <= ? ORDER BY callback_at, id LIMIT ?
"""
KEEP_CALLBACK = "UPDATE jobs SET callback_at = ?, record = ? WHERE id = ?"
LIST = """
    SELECT id, record FROM jobs
    WHERE owner = ?1 AND application = ?2 AND id < ?3 AND (?4 IS NULL OR status = ?4)
    ORDER BY id DESC
"""
LIST_ALL = """
    SELECT id, record FROM jobs
    WHERE application = ?1 AND id < ?2 AND (?3 IS NULL OR status = ?3)
    ORDER BY id DESC
"""
POSITION = """
    SELECT
        CASE WHEN job.status <> 'accepted' THEN 0 ELSE (
            SELECT count(*) FROM (
                SELECT 1 FROM jobs
                WHERE offered_at IS NOT NULL AND application = job.application AND queue = job.queue
                    AND (offered_at, id) < (coalesce(job.offered_at, 9e999), job.id)
                UNION ALL
                SELECT 1 FROM jobs
                WHERE turn IS NOT NULL AND application = job.application AND queue = job.queue
                    AND (turn, id) < (coalesce(job.turn, 9223372036854775807), job.id)
                    AND job.offered_at IS NULL
                LIMIT ?2
            )
        ) END,
        (
            SELECT count(*) FROM (
                SELECT 1 FROM jobs
                WHERE status = 'running' AND application = job.application LIMIT ?2
            )
        )
    FROM jobs AS job WHERE job.id = ?1
"""
LINE = """
    SELECT id FROM jobs
    WHERE turn IS NOT NULL AND application = ?1 AND queue = ?2
        AND (turn, id) >= (SELECT turn, id FROM jobs WHERE id = ?3)
    ORDER BY turn, id LIMIT ?4
"""
DUE = """
    SELECT
        EXISTS (SELECT 1 FROM jobs WHERE turn IS NOT NULL AND application = ?1)
        OR EXISTS (
            SELECT 1 FROM jobs
            WHERE status = 'accepted' AND turn IS NULL AND application = ?1 AND wake_at <= ?2
        )
"""
HISTORY = "SELECT seconds FROM histories WHERE application = ? AND route = ?"
KEEP_HISTORY = """
    INSERT OR REPLACE INTO histories (application, route, seconds) VALUES (?, ?, ?)
"""

APPEND = "INSERT OR REPLACE INTO pieces (job_id, attempt, position, data) VALUES (?, ?, ?, ?)"
PIECE = "SELECT data FROM pieces WHERE job_id = ? AND attempt = ? AND position = ?"
LOAD = """
    SELECT data FROM pieces WHERE job_id = ?1 AND attempt = ?2 AND position = ?3
    UNION ALL
    SELECT body FROM jobs WHERE id = ?1 AND attempt = ?2 AND 0 = ?3 AND body IS NOT NULL
"""
DROP_PIECES = "DELETE FROM pieces WHERE job_id = ?"
DROP_PIECES_MANY = "DELETE FROM pieces WHERE job_id IN ({ids})"
DROP_RESULT = "DELETE FROM pieces WHERE job_id = ? AND attempt <> 0"
DROP_ALL_BUT_RESULT = """
    DELETE FROM pieces WHERE job_id = ? AND NOT (attempt = ? AND position < ?)
"""
ORPHANS = """
    SELECT DISTINCT job_id FROM pieces
    WHERE attempt = 0 AND job_id < ? AND job_id NOT IN (SELECT id FROM jobs) LIMIT ?
"""

CURSOR = "SELECT coalesce(max(cursor), 0) FROM changes"
CHANGES = "SELECT ids FROM changes WHERE cursor > ? AND cursor <= ?"
TRIM_CHANGES = "DELETE FROM changes WHERE cursor <= (SELECT max(cursor) FROM changes) - ?"
