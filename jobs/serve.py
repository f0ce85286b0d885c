"""Transcribe what is sent, or said:  python -m jobs.serve --config local --port 8000

No Spark: engines, configuration and results are those of jobs.transcribe.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from jobs.cli import add_config_arguments, exit_with_reason, load_arguments_config, stopped_by_signals
from schemas.config import ConfigError
from schemas.tables import LIVE_UTTERANCES
from transforms.engines import aligner_specs, fitted, recognizer_spec
from transforms.logs import tell
from transforms.packages import require_packages
from transforms.recognition.rows import TaskSpec
from transforms.stores.fetch import local_path
from transforms.stores.files import check_folder

if TYPE_CHECKING:
    from transforms.live.archive import Archive
    from transforms.live.keeping import Keeper

_RUN = "live"
_AUDIO = "live_audio"
_OPEN = ".open"
_PACKAGES = ("fastapi", "uvicorn", "python_multipart", "websockets", "prometheus_client")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jobs.serve", description=__doc__)
    parser.add_argument("--address", default="127.0.0.1", help="where to serve (%(default)s; 0.0.0.0: to all)")
    parser.add_argument("--port", type=int, default=8000, help="(%(default)s)")
    parser.add_argument(
        "--name", action="append", default=[], help="what clients may call the model, too, as in --name whisper-1"
    )
    parser.add_argument("--new-key", metavar="NAME", help="make a key, show it and its line for serve.keys, and end")
    parser.add_argument(
        "--tables",
        help="keep what live sessions say in these tables, and answer from them for files they have: a folder, or a "
        "uri (credentials: AWS_… and alike)",
    )
    parser.add_argument(
        "--audio", help=f"with --tables: the folder or uri for the sound of sessions; {_AUDIO} in the tables' folder"
    )
    add_config_arguments(parser)
    options = parser.parse_args(arguments)
    if options.audio and not options.tables:
        parser.error("--audio needs --tables")
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
        keeper = None if options.tables is None else _keeper(spec, options.tables, options.audio)
        archive = None if options.tables is None else _archive(spec, options.tables)
        serve(spec, list(names), options.address, options.port, stop, keeper, archive)


def _keeper(spec: TaskSpec, tables: str, audio: str | None) -> Keeper:
    from transforms.lake.appends import Appends
    from transforms.live.keeping import Keeper

    fetch = spec.config.fetch
    folder = audio or f"{tables.rstrip('/')}/{_AUDIO}"
    local = local_path(folder)
    spool = spec.config.serve.spool or (local and local / _OPEN)
    if spool is None:
        raise ConfigError(
            f"the sound of sessions goes to {folder}: set serve.spool to a folder of this machine, which outlives the "
            "server, where it lies until a session is over"
        )
    check_folder(folder, fetch, "--audio")
    about = {"engine": spec.engine_name, "model": spec.model_name}
    append = Appends(tables, LIVE_UTTERANCES).append
    tell(f"sessions are kept in {tables}, their sound in {folder}: jobs.watch --folder {folder} transcribes it")
    return Keeper(folder, Path(spool), fetch, about, append)


def _archive(spec: TaskSpec, tables: str) -> Archive:
    from transforms.lake.copies import Copies
    from transforms.live.archive import Archive

    return Archive(spec, Copies(tables).rows)


if __name__ == "__main__":
    main()
