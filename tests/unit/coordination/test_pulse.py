# SPDX-License-Identifier: Apache-2.0
"""A process knows that it was stopped; the process is a real one."""

import signal
import subprocess
import sys
import time

SCRIPT = """
import sys, time
from ceilo_agent.coordination.pulse import Pulse, now
pulse = Pulse(1.0, 0.1)
pulse.start()
began = now()
for line in sys.stdin:
    print(pulse.steady_since(began), pulse.steady_since(now()), flush=True)
"""


def test_a_process_that_was_stopped_for_too_long_knows_it_at_once():
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def ask():
        process.stdin.write("?\n")
        process.stdin.flush()
        return process.stdout.readline().split()

    try:
        assert ask() == ["True", "True"]
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        process.send_signal(signal.SIGCONT)
        assert ask() == ["True", "True"]
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        process.send_signal(signal.SIGCONT)
        assert ask()[0] == "False"
        time.sleep(0.5)
        # What is given from now on is to be believed.
        assert ask() == ["False", "True"]
    finally:
        process.kill()
        process.communicate()
