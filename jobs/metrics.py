"""Show the tables to Prometheus:  python -m jobs.metrics --tables ./lakehouse --port 9464"""

from __future__ import annotations

import argparse
from functools import partial

from jobs.cli import (
    add_config_arguments,
    add_tables_arguments,
    exit_with_reason,
    load_arguments_config,
    seconds,
    stopped_by_signals,
)
from transforms.lake.local_tables import LocalTables
from transforms.lake.session import session
from transforms.lake.tables import Tables
from transforms.logs import tell
from transforms.metrics.gauges import ASKED, gauges
from transforms.packages import require_packages


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jobs.metrics", description=__doc__)
    add_tables_arguments(parser)
    parser.add_argument("--address", default="127.0.0.1", help="where to serve (%(default)s; 0.0.0.0: to all)")
    parser.add_argument("--port", type=int, default=9464, help="(%(default)s)")
    parser.add_argument(
        "--every", type=seconds, default=60.0, metavar="60s", help="how often to read the tables: 30s, 5m (default 60s)"
    )
    parser.add_argument("--out", help="write a file for node_exporter's textfile collector, and end")
    add_config_arguments(parser)
    options = parser.parse_args(arguments)
    with exit_with_reason():
        config = load_arguments_config(options)
        require_packages("jobs.metrics", ["prometheus_client"], "'lakescribe[metrics]'")
        from transforms.metrics import exporter

        local = LocalTables.can_read(options.tables, *ASKED)
        tables = LocalTables(options.tables) if local else Tables(session(options.verbose), options.tables)
        read = partial(gauges, tables, config.run.claim_minutes)
        if options.out:
            exporter.write(read(), options.out)
            return
        stop = stopped_by_signals("stopping")
        tell(f"{options.tables}: metrics on http://{options.address}:{options.port}/metrics")
        exporter.serve(read, options.address, options.port, options.every, stop)


if __name__ == "__main__":
    main()
