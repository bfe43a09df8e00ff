"""The command `python -m rayon deploy`: parses arguments, calls the library and prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Flows = Annotated[list[str] | None, typer.Argument(help="preprocess, train, score, monitor, feedback; all if none")]


def deploy(
    flows: Flows = None,
    experiment: Annotated[Path, typer.Option("--experiment", "-e", help="the experiment's YAML file")] = Path(
        "configs/production.yaml"
    ),
    production: Annotated[
        bool, typer.Option("--production", help="as the project's production: the branch 'prod', not your own")
    ] = False,
    branch: Annotated[
        str, typer.Option("--project-branch", help="a branch of the project, as Metaflow's --branch")
    ] = "",
    dry: Annotated[bool, typer.Option("--dry", help="print the manifests as YAML and touch no cluster")] = False,
) -> None:
    """Deploy the flows to Argo Workflows: template, schedule and sensor of each, by the experiment's `deploy:`.

    The same as `python flows/X_flow.py --datastore s3 --config experiment FILE argo-workflows create` for each of them.
    Their code is uploaded to the S3 datastore, in a dry run too.
    """
    import yaml

    from rayon.deploying import FLOWS, DeployError, compile_flow, deploy_flow, flow_file

    unknown = sorted(set(flows or ()) - set(FLOWS))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: there is {', '.join(FLOWS)}")
    options = [*(["--production"] if production else []), *(["--branch", branch] if branch else [])]
    for name in flows or FLOWS:
        try:
            file = flow_file(Path.cwd() / "flows", name, experiment)
            if dry:
                typer.echo(yaml.safe_dump_all(compile_flow(file, experiment, options), sort_keys=False), nl=False)
                typer.echo("---")
            else:
                typer.echo(deploy_flow(file, experiment, options))
        except DeployError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from None
