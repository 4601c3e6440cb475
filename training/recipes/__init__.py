"""The recipes: each file of this folder is one, and is known by being here."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from catalog.resources import clip
from infra.errors import NotFound
from training.recipe import Recipe


class RecipeNotFound(NotFound):
    code, title = "recipe-not-found", "There is no such recipe"


RECIPES: Final[dict[str, Recipe]] = {
    recipe.name: recipe
    for recipe in (import_module(f"{__name__}.{module.name}").RECIPE for module in iter_modules(__path__))
}


def recipe_named(name: str) -> Recipe:
    """Raises RecipeNotFound, with the nearest right name."""
    if name not in RECIPES:
        nearest = get_close_matches(name, RECIPES, 1)
        raise RecipeNotFound(
            f"There is no recipe {clip(name)}.",
            hint=f"Did you mean {nearest[0]}?" if nearest else f"There are {', '.join(RECIPES)}.",
        )
    return RECIPES[name]
