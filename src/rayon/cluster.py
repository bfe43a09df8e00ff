"""What a flow needs on Kubernetes beside what its steps ask for: image, secrets, nodes, threads.

One of the few modules that know Metaflow. It imports nothing heavy, since every task of every flow begins here. On one
machine it changes nothing.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from metaflow import FlowMutator
from metaflow.user_configs.config_parameters import resolve_delayed_evaluator


class on_cluster(FlowMutator):  # noqa: N801 - it is written as a decorator
    """Gives every step a `@kubernetes` made of `deploy.pods` of the experiment, where the flow is deployed or runs in a
    pod; what `@resources` asks for decides between the settings for steps with and without a GPU.

    As many threads are used as cores are asked for: a pod sees all cores of its node.
    """

    def mutate(self, mutable_flow: Any) -> None:
        """Add the decorators; Metaflow calls it once the settings are read."""
        if not deployed():
            return
        pods = dict(mutable_flow.configs)["experiment"]["deploy"]["pods"]
        for _, step in mutable_flow.steps:
            asked = _resources(step)
            step.add_decorator("kubernetes", deco_kwargs=pod_settings(pods, bool(int(asked.get("gpu") or 0))))
            step.add_decorator("environment", deco_kwargs={"vars": {"OMP_NUM_THREADS": str(asked.get("cpu") or 1)}})


def deployed() -> bool:
    """Say whether this process deploys a flow to Argo Workflows, or runs in a pod of one."""
    return "argo-workflows" in sys.argv or "METAFLOW_KUBERNETES_WORKLOAD" in os.environ


def pod_settings(pods: Any, gpu: bool) -> dict[str, Any]:
    """Return the arguments of `@kubernetes` for a step that asks for a GPU, or for one that does not.

    `pods` is `rayon.config.Pods` as a mapping. What is empty is left to Metaflow's own configuration.
    """
    selector = {**pods["node_selector"], **(pods["gpu_node_selector"] if gpu else {})}
    settings = {
        "image": (gpu and pods["gpu_image"]) or pods["image"],
        "service_account": pods["service_account"],
        "secrets": list(pods["secrets"]),
        "node_selector": {str(name): str(value) for name, value in selector.items()},
        "tolerations": [dict(toleration) for toleration in pods["gpu_tolerations"]] if gpu else [],
        "shared_memory": pods["shared_memory"],
    }
    return {name: value for name, value in settings.items() if value}


def _resources(step: Any) -> dict[str, Any]:
    for name, _, _, settings in step.decorator_specs:
        if name == "resources":
            resolved: dict[str, Any] = resolve_delayed_evaluator(settings)
            return resolved
    return {}
