"""`sageops local up` with models that need no training (`tests.functional.world.Models`), after the
night's schedule and with its clock stopped: python -m tests.browser.ground FOLDER

A process of its own, as the real one: the embedded cloud has the clock and the environment of its
process for itself.
"""

import signal
import sys
from contextlib import suppress
from pathlib import Path

from local.playground import Playground, credentials, serving
from tests.functional.world import AFTER_THE_NIGHT, Models, opened


def main() -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with opened(Models(), AFTER_THE_NIGHT, Path(sys.argv[1])) as world:
        with serving(Playground(world.company, speed=0)) as url:
            print(f"Open {url}")
            for name, value in credentials(world.company, url).items():
                print(f"  export {name}={value}")
            print("It stops on SIGTERM.", flush=True)
            with suppress(KeyboardInterrupt):
                signal.pause()


if __name__ == "__main__":
    main()
