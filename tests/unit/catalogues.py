"""The small catalogue that modelling tests learn from: four categories, each with its words and its colour."""

from __future__ import annotations

NET = "timm:test_resnet@random"
KINDS = {"lampes": (250, 220, 40), "livres": (120, 60, 30), "jouets": (40, 90, 220), "vases": (40, 200, 90)}
WORDS = {
    "lampes": ("lampe", "abat-jour", "led", "chevet"),
    "livres": ("roman", "poche", "tome", "edition"),
    "jouets": ("puzzle", "poupee", "robot", "cubes"),
    "vases": ("vase", "porcelaine", "bouquet", "terre"),
}
