"""The entrance of a cluster's environments: leads to those that are awake, and wakes the others.

nginx leads each host name to its environment's Service by the rule of its name. What cannot be
reached goes to the waker, which runs beside it (``python -m entrance wake``).
"""
