#!/bin/bash
# A sweep as a job of a Ray cluster that runs already: it goes on when this terminal closes.
#
#   deploy/submit.sh downstream --gpus 8 --data /shared/data --results /shared/results
#
# Run it on the head node, or where a tunnel leads to its dashboard: ssh -L 8265:127.0.0.1:8265 HEAD. Arguments are
# those of `python cli.py sweep`. The project must be installed on every node; PROJECT is its folder there.
set -euo pipefail

export RAY_AUTH_MODE=token # the token itself: in RAY_AUTH_TOKEN, or in ~/.ray/auth_token
printf -v project '%q' "${PROJECT:-$PWD}"
printf -v arguments '%q ' "$@"
exec ray job submit --no-wait --address "${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}" -- \
    bash -c "cd $project && python cli.py sweep --address auto $arguments"
