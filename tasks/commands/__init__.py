"""The tasks that `inv` offers: each one parses, calls one flow and prints.

What a task runs is imported as it runs, put together by ``tasks.app``: `inv --list` waits for none
of it.
"""
