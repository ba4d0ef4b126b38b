"""The thread that waits for the disk: it writes what it was given and ends when it is told to, whatever the timing."""

import sqlite3
import threading
from pathlib import Path

from tokenrouter.storage.sqlite import Writer


def _writer(folder: Path, **more) -> Writer:
    connection = sqlite3.connect(folder / "w.db", isolation_level=None, check_same_thread=False)
    connection.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER)")
    return Writer(connection, delay_s=0.001, **more)


def test_a_stop_that_comes_while_the_event_is_cleared_is_not_lost(tmp_path: Path):
    writer = _writer(tmp_path)
    real = writer._wanted.clear

    def clear() -> None:
        writer._stop = True  # as `close` does it, at the worst moment
        writer._wanted.set()
        real()

    writer._wanted.clear = clear
    writer.put("INSERT INTO t VALUES (?)", (1,))
    writer._thread.join(5)
    assert not writer._thread.is_alive()
    writer._connection.close()


def test_everything_put_by_many_threads_is_written_before_the_end(tmp_path: Path):
    writer = _writer(tmp_path, most=7)
    threads = [threading.Thread(target=lambda: [writer.put("INSERT INTO t VALUES (?)", (n,)) for n in range(200)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.close()
    with sqlite3.connect(tmp_path / "w.db") as db:
        assert db.execute("SELECT COUNT(*), SUM(n) FROM t").fetchone() == (1600, 8 * sum(range(200)))
    db.close()
