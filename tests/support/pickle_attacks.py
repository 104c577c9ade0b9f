"""Pickles that would run something."""

import builtins
import functools
import os
import pickle
import subprocess

import numpy as np

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def attacks(path):
    write = f"open({str(path)!r}, 'w').close()"
    chain = Call(getattr, Call(getattr, np.ndarray, "__class__"), "__base__")
    return {
        "system": (Call(os.system, f"touch {path}"), "posix.system"),
        "popen": (Call(subprocess.Popen, ["touch", str(path)]), "Popen"),
        "check_output": (Call(subprocess.check_output, ["touch", str(path)]), "check_output"),
        "eval": (Call(builtins.eval, write), "eval"),
        "exec": (Call(builtins.exec, write), "exec"),
        "open": (Call(open, str(path), "w"), "open"),
        "nested getattr": (chain, "getattr"),
        "partial": (Call(functools.partial, os.system, f"touch {path}"), "functools.partial"),
        "unpickler of numpy": (Call(np.load, str(path)), "numpy"),
        "import": (Call(__import__, "os"), "__import__"),
    }
