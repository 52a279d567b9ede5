"""Work on several environments at the same time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

from tasks.adapters.terminal.console import Activity, Console
from tasks.core.errors import SuiteError


class PrefixedConsole:
    """A console within one piece of work: it prefixes each line with the branch."""

    def __init__(self, branch: str, activity: Activity) -> None:
        self._branch = branch
        self._activity = activity

    def say(self, text: str) -> None:
        """Show a message as a transient line."""
        self._activity.line(f"{self._branch}: {text}")

    def warn(self, text: str) -> None:
        """Print a warning."""
        self._activity.say(f"{self._branch}: {text}")

    @contextlib.contextmanager
    def work(self, title: str) -> Iterator[Activity]:
        """Yield an activity whose steps are shown as transient lines."""
        yield Activity(self.warn, self.say, note=self.say)


def run_on_each(
    todo: Sequence[tuple[str, Callable[[Activity], str]]],
    at_once: int,
    console: Console,
    *,
    title: str,
    done: str,
    outcome: str,
) -> None:
    """Do something to environments in parallel, to each independently of the others.

    Args:
        todo: the title of each, and what is done to it; that returns what has become of it.
        at_once: how many at the same time.
        console: shows progress.
        title: of all of it.
        done: what is done, as in "1 of 2 environments could not be removed".
        outcome: what the others are now, as in "1 removed".

    Raises:
        SuiteError: some failed; the message names them.
    """
    failed: list[str] = []
    with console.work(title) as activity:
        pool = ThreadPoolExecutor(at_once, thread_name_prefix="environment")
        running = {pool.submit(action, activity): name for name, action in todo}

        def tell(futures: Iterable[Future[str]]) -> None:
            for future in as_completed(futures):
                name = running[future]
                try:
                    activity.say(f"{name}: {future.result()}")
                except SuiteError as error:
                    failed.append(name)
                    activity.say(f"{name}: {' '.join(error.lines())}")

        try:
            tell(running)
        except KeyboardInterrupt:
            # What is under way is finished, nothing else is started.
            under_way = [each for each in running if not each.done() and not each.cancel()]
            names = sorted(running[each] for each in under_way)
            activity.say(f"interrupted; finishing {', '.join(names) or 'nothing'}")
            tell(under_way)
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        activity.outcome = f"{len(todo) - len(failed)} {outcome}"
    if failed:
        raise SuiteError(
            f"{len(failed)} of {len(todo)} environments could not be {done}: "
            f"{', '.join(sorted(failed))}",
            hint="run the same again: it goes on where this run stopped",
        )
