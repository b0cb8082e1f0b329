"""
Loaded by every Python whose path holds this folder: does what METAFUSION_FAULT says to the job of one rule.

METAFUSION_FAULT is JSON: ``rule``; ``event`` (of Python's audit hooks) and ``part`` (of its first argument), which say
when; ``number`` (the how manieth time); ``action``, and ``bytes`` for some of these.
"""

import json
import os
import resource
import signal
import sys


def kill(fault):
    os.kill(os.getpid(), signal.SIGKILL)


def cut(fault):
    """Let the system kill the process in the middle of the first write that makes a file longer than so many bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (fault["bytes"], fault["bytes"]))


def starve(fault):
    """Give no more memory than so many bytes beyond what there is."""
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + fault["bytes"],) * 2)


ACTIONS = {"kill": kill, "cut": cut, "starve": starve}


def listen(fault):
    met = 0

    def hook(event, arguments):
        nonlocal met
        if event == fault["event"] and fault["part"] in str(arguments[0]):
            met += 1
            if met == fault["number"]:
                ACTIONS[fault["action"]](fault)

    sys.addaudithook(hook)


FAULT = json.loads(os.environ.get("METAFUSION_FAULT", "null"))
if FAULT and any(word.endswith(f".{FAULT['rule']}.py") for word in sys.orig_argv):
    # In this process, and in no other.
    os.environ["METAFUSION_FORKS"] = "no"
    listen(FAULT)
