from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from autoonco.errors import AutoOncoError
from autoonco.families import get_family
from autoonco.families.contract import Fidelity
from autoonco.search.portfolio import (
    Recorded,
    build_portfolio,
    greedy,
    kinds_of,
    portfolio_of,
    starts,
    write_portfolio,
)
from autoonco.search.portfolio_file import dump, load_portfolio, parse
from autoonco.search.space import build_space, join
from autoonco.search.store import Store
from autoonco.search.trial import Origin, Status, Trial
from autoonco.tabular.pipeline import complete

TWO_D = ("2d/mask/small/two", "2d/mask/small", "2d/mask", "2d", "any")
THREE_D = ("3d/mask/small/two", "3d/mask/small", "3d/mask", "3d", "any")


def toy_config(strength):
    return {"act": "work", "strength": strength}


def task(kinds, losses, *, family="toy", of=toy_config):
    return Recorded(
        kinds=kinds, configs=tuple((family, of(value)) for value in losses), losses=tuple(losses.values())
    )


def trial(number, strength, loss, **fields):
    fields = {
        "scope": "final",
        "budget": 1.0,
        "status": Status.SUCCESS,
        "origin": Origin.SEARCH,
        "loss": loss,
    } | fields
    return Trial(
        id=number,
        family="toy",
        config=toy_config(strength),
        fidelity=Fidelity(folds=3),
        seconds=1.0,
        elapsed_s=1.0,
        seed=0,
        score=0.5,
        **fields,
    )


@pytest.fixture
def run(tmp_path, problem):
    """A run of which two configs count, and others that don't: part of a training, failed, another scope, rescored."""
    folder = tmp_path / "Jane Doe"
    store = Store(folder)
    (folder / "fingerprint.json").write_text(json.dumps(problem.fingerprint.to_json()))
    store.add_trial(trial(0, 0.2, 0.4))
    store.add_trial(trial(1, 0.7, 0.1))
    store.add_trial(trial(2, 0.01, 0.0, budget=1 / 3))
    store.add_trial(trial(3, 0.02, None, status=Status.FAILED))
    store.add_trial(trial(4, 0.03, 0.0, status=Status.STOPPED))
    store.add_trial(trial(5, 0.04, 0.0, scope="outer0"))
    store.add_trial(trial(6, 0.2, 0.0, origin=Origin.FINALIST))
    return folder


@pytest.mark.parametrize("seed", range(20))
def test_every_choice_is_the_one_that_brute_force_would_make(seed):
    losses = np.random.default_rng(seed).random((6, 4))
    chosen = greedy(losses, 4)
    for n in range(4):
        value = {
            row: losses[[*chosen[:n], row]].min(axis=0).mean() for row in set(range(6)) - set(chosen[:n])
        }
        assert value[chosen[n]] == min(value.values())


@pytest.mark.parametrize("seed", range(20))
def test_the_portfolio_is_close_to_the_best_of_all_sets(seed):
    # The gain is submodular, so greedy has at least 1 - 1/e of the best set's (Nemhauser et al. 1978).
    losses = np.random.default_rng(seed).random((7, 5))

    def gain(rows):
        return 1.0 - losses[list(rows)].min(axis=0).mean()

    best = max(map(gain, itertools.combinations(range(7), 3)))
    assert gain(greedy(losses, 3)) >= (1 - 1 / np.e) * best


def test_configs_that_complement_one_another_come_before_the_second_best():
    losses = np.array([[0.0, 0.9], [0.1, 0.9], [0.9, 0.0]])
    assert set(greedy(losses, 2)) == {0, 2}
    assert sorted(greedy(losses, 9)) == [0, 1, 2]


def test_a_config_that_one_task_never_tried_is_judged_there_by_its_like():
    # High strengths are bad on the second task, where 0.90 was not tried; low ones are good on both.
    first = task(TWO_D, {0.90: 0.10, 0.10: 0.11, 0.5: 0.5})
    second = task(TWO_D, {0.89: 0.9, 0.91: 0.9, 0.92: 0.9, 0.10: 0.1, 0.11: 0.12, 0.09: 0.12})
    chosen = portfolio_of([first, second], size=1)["starts"]["any"]["toy"]
    assert chosen == [toy_config(0.10)]


def test_a_task_is_looked_up_under_its_own_kind_then_under_more_general_ones(problem, toy):
    found = portfolio_of([task(TWO_D, {0.2: 0.1, 0.3: 0.2}), task(THREE_D, {0.8: 0.1, 0.9: 0.3})], size=1)
    assert set(found["starts"]) == {"any", "2d", "3d"}
    space = build_space(["toy"], problem.fingerprint)
    flat = replace(problem.fingerprint, has_mask=True)
    assert starts(flat, space, found) == [("toy", toy_config(0.2))]
    solid = replace(problem.fingerprint, ndim=3, has_mask=False, n_cases=500, classes=("a", "b", "c"))
    assert kinds_of(solid)[0] == "3d/no mask/large/more"
    assert starts(solid, space, found) == [("toy", toy_config(0.8))]
    del found["starts"]["3d"]
    assert starts(solid, space, found) == [("toy", found["starts"]["any"]["toy"][0])]


def test_only_full_trainings_of_the_final_search_teach(run, problem, toy):
    found = build_portfolio([run])
    assert found["starts"] == {"any": {"toy": [toy_config(0.7), toy_config(0.2)]}}
    assert found["provenance"]["runs"] == 1
    assert found["provenance"]["tasks"] == [{"kind": kinds_of(problem.fingerprint)[0], "configs": {"toy": 2}}]


def test_reading_a_run_changes_nothing_in_it(run):
    with (run / "journal.jsonl").open("ab") as stream:
        stream.write(b'{"event": "tri')  # another process is just writing
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    build_portfolio([run])
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_the_file_says_the_same_again_and_names_nobody(run, tmp_path):
    out = tmp_path / "portfolio.yaml"
    write_portfolio([run], out)
    assert load_portfolio(str(out)) == build_portfolio([run])
    text = out.read_text()
    assert "Jane" not in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("value", [1e-05, 1 / 3, True, 3, "none", "1e-5", "yes", -0.0, 1e300])
def test_values_survive_the_file(value):
    found = portfolio_of([task(TWO_D, {value: 0.1}, of=lambda value: {"x": value})])
    again = parse(dump(found), name="it")["starts"]["any"]["toy"][0]["x"]
    assert (type(again), again) == (type(value), value)


@pytest.mark.parametrize(
    "bad",
    [
        {"act": "work", "strength": 0.5, "depth": 3},
        {"act": "dance", "strength": 0.5},
        {"act": "work", "strength": 7.0},
        {"depth": 3},
    ],
)
def test_points_outside_the_space_are_left_out(bad, problem, toy):
    found = {"format": 1, "starts": {"any": {"toy": [bad, toy_config(0.5)], "unheard_of": [{"x": 1}]}}}
    space = build_space(["toy"], problem.fingerprint)
    assert starts(problem.fingerprint, space, parse(dump(found), name="it")) == [("toy", toy_config(0.5))]


def test_what_a_config_does_not_name_has_its_default(problem, toy):
    """Of units and thick slices: one portfolio is for data with and without them."""
    found = {"format": 1, "starts": {"any": {"toy": [{"act": "work"}]}}}
    space = build_space(["toy"], problem.fingerprint)
    ((_, config),) = starts(problem.fingerprint, space, parse(dump(found), name="it"))
    assert config == {"act": "work", "strength": space["toy:strength"].default_value}
    assert _fits(space, "toy", config)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "not YAML at line"),
        ("", "no mapping 'starts'"),
        ("- 1", "no mapping 'starts'"),
        ("format: 2\nstarts: {}", "format 2, this version reads 1"),
        ("format: 1\nstarts: {any: [1]}", "'any' must map families to lists of configs, got list"),
        ("format: 1\nstarts: {any: {toy: {x: 1}}}", "'toy' must be a list of configs, got dict"),
        ("format: 1\nstarts: {any: {toy: [3]}}", "config 1 must map names to values, got int"),
        ("format: 1\nstarts: {any: {toy: [{x: [1]}]}}", "has [1] for 'x'"),
        ("format: 1\nstarts: {any: {toy: [{x: null}]}}", "has None for 'x'"),
        ("!!python/object/apply:os.system ['true']", "not YAML"),
    ],
)
def test_a_foreign_file_is_refused_in_one_sentence_with_a_remedy(text, words, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(AutoOncoError) as caught:
        load_portfolio(str(path))
    assert words in str(caught.value)
    assert "autoonco portfolio build" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there_are_told(tmp_path):
    with pytest.raises(AutoOncoError, match="can't be read"):
        load_portfolio(str(tmp_path / "none.yaml"))
    with pytest.raises(AutoOncoError, match=r"has no fingerprint\.json"):
        build_portfolio([tmp_path])
    with pytest.raises(AutoOncoError, match="nothing to learn from"):
        portfolio_of([task(TWO_D, {})])


def test_a_damaged_run_is_told(run):
    (run / "fingerprint.json").write_text('{"ndim": 2}')
    with pytest.raises(AutoOncoError, match=r"damaged fingerprint\.json"):
        build_portfolio([run])


def test_none_is_no_portfolio(problem, toy):
    space = build_space(["toy"], problem.fingerprint)
    assert starts(problem.fingerprint, space, load_portfolio("none")) == []


KINDS_OF_DATA = {
    "grey pictures": {"ndim": 2, "unit": "byte"},
    "colour pictures": {"ndim": 2, "unit": "byte", "is_colour": True},
    "CT": {"ndim": 3, "unit": "hounsfield"},
    "CT of thick slices": {"ndim": 3, "unit": "hounsfield", "slice_mm": 6.0},
    "MR": {"ndim": 3, "unit": "arbitrary"},
    "PET": {"ndim": 3, "unit": "suv"},
}


def data_of(problem, *, ndim, unit, is_colour=False, slice_mm=1.0, **more):
    """Return the fingerprint of data of one image and its mask a case."""
    return replace(
        problem.fingerprint, ndim=ndim, channels=("image",), has_mask=True, spacing_mm=(1.0, 1.0, slice_mm)[:ndim],
        shape=(64,) * ndim, lesion_mm=(20.0,) * ndim, lesion_voxels=900.0, intensity={"image": unit},
        is_colour=is_colour, **more,
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS_OF_DATA)
def test_all_that_ships_starts_a_search_whatever_the_data(kind, problem):
    data = data_of(problem, **KINDS_OF_DATA[kind])
    families = [
        name
        for name in ("radiomics", "pretrained2d", "volumetric3d")
        if get_family(name).why_not(data) is None
    ]
    shipped = load_portfolio()["starts"]["2d" if data.ndim == 2 else "3d"]
    space = build_space(families, data)
    found = starts(data, space, load_portfolio())
    for family in families:
        configs = [config for name, config in found if name == family]
        assert len(configs) == len(shipped[family])
        assert all(_fits(space, family, config) for config in configs)
        for said, config in zip(shipped[family], configs, strict=True):  # nothing that applies is changed
            own = {name for name in said if f"{family}:{name}" in space}
            assert {name: config[name] for name in own} == {name: said[name] for name in own}
            assert len(own) > len(said) / 2
    assert families[:2] == ["radiomics", "pretrained2d"]


def test_bins_of_one_unit_become_those_of_another_and_colours_stay_behind(problem):
    pictures = {"bin_count": 64, "colour": "channels", "normalise": "zscore", "location": "on"}
    data = data_of(problem, ndim=2, unit="byte", is_colour=True)
    whole = complete(get_family("radiomics").space(data), pictures)
    found = {"format": 1, "starts": {"any": {"radiomics": [whole]}}}
    assert starts(data, build_space(["radiomics"], data), found) == [("radiomics", whole)]
    ct = data_of(problem, ndim=3, unit="hounsfield")
    ((_, config),) = starts(ct, build_space(["radiomics"], ct), found)
    assert not {"bin_count", "colour", "normalise"} & config.keys()
    assert (config["location"], config["bin_width"]) == ("on", 25)


def test_a_volume_s_slices_stay_behind_on_pictures(problem):
    ct, family = data_of(problem, ndim=3, unit="hounsfield"), get_family("pretrained2d")
    whole = complete(family.space(ct), {"slices": "planes", "plane_pooling": "max", "size": 128})
    found = {"format": 1, "starts": {"any": {"pretrained2d": [whole]}}}
    pictures = data_of(problem, ndim=2, unit="byte", is_colour=True)
    ((_, config),) = starts(pictures, build_space(["pretrained2d"], pictures), found)
    assert not {"slices", "plane_pooling"} & config.keys()
    assert config["size"] == 128


def _fits(space, family, config):
    try:
        join(space, family, config)
    except ValueError:
        return False
    return True


def test_what_ships_names_no_task():
    provenance = load_portfolio()["provenance"]
    assert provenance["runs"] == len(provenance["tasks"]) > 1
    assert all(set(entry) == {"kind", "configs"} for entry in provenance["tasks"])
    text = yaml.safe_dump(dict(load_portfolio())).lower()
    assert not [name for name in ("busi", "lidc", "/", "case") if name in text.replace("2d/", "").replace("3d/", "")
                .replace("mask/", "").replace("small/", "").replace("large/", "")]  # fmt: skip
