"""What granian loads in each worker of `tokenrouter serve`: the app, and an end of its own should the main process be gone.

The main process tells its workers to end, and ends those that do not. One that is killed can do neither, and its workers would go on,
with their ports and folders, behind a supervisor that knows nothing of them.
"""

import multiprocessing
import os
import signal
import threading
import time
from typing import Final

from tokenrouter.api.app import App
from tokenrouter.api.app import create_app as create
from tokenrouter.cli.serve import KILL_AFTER_S

_LOOK_EVERY_S: Final = 0.5


def create_app() -> App:
    """The app, in a worker."""
    main = multiprocessing.parent_process()
    if main is not None and main.pid is not None:
        threading.Thread(target=_outlive, args=(main.pid,), name="main process", daemon=True).start()
    return create()


def _outlive(main: int) -> None:
    """End this process as the main process would, once that is gone. A process whose parent has ended has another one."""
    while os.getppid() == main:
        time.sleep(_LOOK_EVERY_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(KILL_AFTER_S)
    os.kill(os.getpid(), signal.SIGKILL)
