"""Transcribe what is sent, or said:  python -m jobs.serve --config local --port 8000

No Spark: engines, configuration and results are those of jobs.transcribe.
"""

from __future__ import annotations

import argparse
import json
from pathlib import PurePosixPath

from jobs.cli import add_config_arguments, exit_with_reason, load_arguments_config, stopped_by_signals
from transforms.engines import aligner_specs, fitted, recognizer_spec
from transforms.logs import tell
from transforms.packages import require_packages
from transforms.recognition.rows import TaskSpec

_RUN = "live"
_PACKAGES = ("fastapi", "uvicorn", "python_multipart", "websockets", "prometheus_client")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jobs.serve", description=__doc__)
    parser.add_argument("--address", default="127.0.0.1", help="where to serve (%(default)s; 0.0.0.0: to all)")
    parser.add_argument("--port", type=int, default=8000, help="(%(default)s)")
    parser.add_argument(
        "--name", action="append", default=[], help="what clients may call the model, too, as in --name whisper-1"
    )
    parser.add_argument("--new-key", metavar="NAME", help="make a key, show it and its line for serve.keys, and end")
    add_config_arguments(parser)
    options = parser.parse_args(arguments)
    with exit_with_reason():
        config = load_arguments_config(options)
        if options.new_key:
            from transforms.live.keys import new_key

            key, row = new_key(options.new_key)
            print(f"{key}\n- {json.dumps(row, ensure_ascii=False)}")
            return
        require_packages("jobs.serve", _PACKAGES, "'lakescribe[serve]'")
        from transforms.live.server import serve

        recognizer, aligners = recognizer_spec(config), aligner_specs(config)
        config = fitted(config, aligners)
        model = str(recognizer.key.get("model", config.engine.name))
        spec = TaskSpec(config, recognizer, aligners, config.engine.name, model, _RUN)
        called = str(config.engine.options.get("model", getattr(recognizer, "model", config.engine.name)))
        names = dict.fromkeys([called, PurePosixPath(called).name, *options.name])
        tell(f"serving {called} on http://{options.address}:{options.port}/v1")
        stop = stopped_by_signals("stopping: what is at work is done first")
        serve(spec, list(names), options.address, options.port, stop)


if __name__ == "__main__":
    main()
