"""The app: classify an article, correct it, see what the model knows; and the JSON API that other programs call.

    python app/app.py                                       the demo catalogue's champion on http://127.0.0.1:7860
    python app/app.py --experiment configs/catalog.yaml     your catalogue's

It serves the champion, or the latest successful training where nothing was promoted, and takes a newly promoted model
by itself. Who may do what is said by environment variables alone: see `rayon.serving.access`.
"""

from __future__ import annotations

import os

# Read when gradio is imported: it calls nobody.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import logging
import math
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer

import rayon  # sets what torch and Metaflow read when they are imported

ROOT = Path(__file__).resolve().parents[1]
PORT = 7860
_KEEP_SECONDS = 3600.0


def make_app(config: Any, service: Any, access: Any, scratch: Path) -> Any:
    """Return the whole application: JSON API and pages, mounted at the root.

    Args:
        config: the experiment.
        service: what answers; the application's lifespan starts and stops it.
        access: who may do what.
        scratch: the folder of uploads and files to download; what is older than an hour is deleted there.
    """
    import gradio as gr
    from interface import THEME, make_interface
    from pieces import CSS

    from rayon.serving.api import make_api

    scratch.mkdir(parents=True, exist_ok=True)
    os.environ["GRADIO_TEMP_DIR"] = str(scratch)
    api = make_api(service, access)
    pages = make_interface(service, access, scratch)
    pages.queue(max_size=256, default_concurrency_limit=8)
    gr.mount_gradio_app(
        api,
        pages,
        path="/",
        auth=access.login if access.users else None,
        allowed_paths=[],
        show_error=False,  # errors hold paths of the server
        max_file_size=int(config.app.max_upload_megabytes * 1e6),
        ssr_mode=False,
        run_history=False,
        footer_links=[],
        theme=THEME,
        css=CSS,
    )
    # Mounted, gradio checks no path of a caller's file until its own launch() has run, which it never does here:
    # without this line any file of the server could be read through an upload field.
    pages.has_launched = True
    sweeper = threading.Thread(target=_sweep, args=(scratch,), name="rayon-sweep", daemon=True)
    sweeper.start()
    return api


def main(
    experiment: Annotated[Path, typer.Option("--experiment", "-e", help="the experiment's YAML file")] = ROOT
    / "configs"
    / "demo.yaml",
    host: Annotated[str, typer.Option(help="the address to listen on; 0.0.0.0 for all")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = PORT,
    model: Annotated[
        str,
        typer.Option(help="serve this one: a run of TrainFlow, 'latest' or a bundle's file", show_default="champion"),
    ] = "",
    branch: Annotated[
        str,
        typer.Option(help="the Metaflow project branch to look at, such as prod or user.anna", envvar="RAYON_BRANCH"),
    ] = "",
    open_to_all: Annotated[
        bool, typer.Option("--open", help="listen beyond this machine though no users or keys are set")
    ] = False,
) -> None:
    """Serve the champion: a page for people, a JSON API for programs (documented at /api/docs)."""
    import uvicorn

    from rayon.config import ConfigError, parse_config, read_config, resolve_paths
    from rayon.feedback import StoreError
    from rayon.serving.access import KEYS, USERS, AccessError, read_access
    from rayon.serving.logs import set_up_logs
    from rayon.serving.opening import open_service
    from rayon.serving.origins import is_loopback

    if branch:
        os.environ["RAYON_BRANCH"] = branch
    set_up_logs()
    try:
        if not experiment.is_file():
            raise ConfigError(f"there is no file {experiment}: name one of configs/*.yaml with --experiment.")
        config = resolve_paths(parse_config(read_config(experiment.read_text(encoding="utf-8"))), ROOT)
        local = is_loopback(host)
        access = read_access(os.environ, local)
        if not local and not open_to_all and not (access.users and access.keys):
            raise AccessError(
                f"--host {host} lets other machines in: set {USERS} and {KEYS} in the environment, or say --open if "
                "something in front of the app asks who they are."
            )
        service = open_service(config, model)
    except (ConfigError, AccessError, StoreError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    application = make_app(config, service, access, Path(config.cache) / "app")
    typer.echo(f"rayon {rayon.__version__}: http://{host}:{port}, API documentation at /api/docs")
    # An open page keeps a stream open: without a bound no orderly end would come while somebody looks at one.
    patience = math.ceil(config.app.timeout_seconds)
    quiet: dict[str, Any] = {"access_log": False, "log_level": "warning", "server_header": False}
    uvicorn.run(application, host=host, port=port, timeout_graceful_shutdown=patience, **quiet)


def _sweep(scratch: Path) -> None:
    """Delete what was uploaded or made for download an hour ago, whoever left it there."""
    while True:
        old = time.time() - _KEEP_SECONDS
        for place in scratch.glob("*"):
            try:
                if place.stat().st_mtime < old:
                    shutil.rmtree(place) if place.is_dir() else place.unlink()
            except OSError as error:
                logging.getLogger("rayon.app").warning("%s was not deleted: %s", place.name, error)
        time.sleep(60.0)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    command.command()(main)
    command()
