# SPDX-License-Identifier: Apache-2.0
"""What Ceilometer's own code makes of payloads; run by the Python of Ceilometer's environment.

Each line of standard input: JSON with `secret` and `payload`, of a notification. A line of standard
output for each: JSON with the samples that its notification agent builds, and for each document the
signature that Ceilometer computes and whether it verifies the one it has.
"""

import json
import sys

from ceilometer.publisher import utils
from ceilometer.telemetry.notifications import TelemetryIpc


def main():
    for line in sys.stdin:
        asked = json.loads(line)
        secret, payload = asked["secret"], asked["payload"]
        documents = payload["samples"]
        built = TelemetryIpc.build_sample(None, {"payload": payload})
        answer = {
            "samples": [sample.as_dict() for sample in built],
            "signatures": [utils.compute_signature(each, secret) for each in documents],
            "verified": [utils.verify_signature(each, secret) for each in documents],
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
