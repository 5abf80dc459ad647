"""The names of scopes: stable, and one for each."""

from __future__ import annotations

from itertools import permutations

from reports.evidence.scopes import BUILT_IN_POOLS, Scope, named

RESNET = Scope(BUILT_IN_POOLS["icons-full"], "miniature", "icons-resnet", "icons")
VIT = Scope(BUILT_IN_POOLS["icons-full"], "miniature", "icons-vit", "icons")
RANDOM = Scope(BUILT_IN_POOLS["icons-full"], "miniature", "icons-resnet", "random")
OTHER = Scope(BUILT_IN_POOLS["icons/domains"], "miniature", "icons-vit", "icons")


def test_a_second_model_changes_no_name() -> None:
    for scopes in permutations([RESNET, VIT, RANDOM, OTHER]):
        names = named(scopes)
        assert names[RESNET] == named([RESNET])[RESNET] == "icons-full"
        assert names[VIT] == "icons-full with icons-vit"
        assert names[RANDOM] == "icons-full with icons-resnet random"
        assert names[OTHER] == "icons/domains"


def test_the_model_of_the_family_comes_first_and_a_command_names_another() -> None:
    assert min(VIT, RANDOM, RESNET, key=lambda scope: scope.sort_key) == RESNET
    assert "--model" not in RESNET.command
    assert VIT.command == f"{RESNET.command} --model icons-vit --pretrained icons"
