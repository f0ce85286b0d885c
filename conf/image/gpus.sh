#!/bin/sh
# Tells Spark of the GPUs that are to be seen (spark.executor.resource.gpu.discoveryScript), as
# {"name": "gpu", "addresses": ["0", "1"]}
set -eu
indices=$(nvidia-smi --query-gpu=index --format=csv,noheader)
addresses=$(printf '%s\n' "$indices" | sed 's/.*/"&"/' | paste -s -d , -)
echo "{\"name\": \"gpu\", \"addresses\": [$addresses]}"
