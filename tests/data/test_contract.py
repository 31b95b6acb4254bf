"""A model reads new cases as those that it learned from."""

from __future__ import annotations

import json
from pathlib import Path

from autoonco.data.case import Case
from autoonco.data.contract import contract_of, read_as
from autoonco.data.pick import Pick
from tests.dicom_files import noise, slices, write_series


def case(folder: Path, image: str, *, suv: bool = False, labels: tuple[int, ...] = ()) -> Case:
    return Case(
        case="c", patient="p", images={"pet": folder / image, "ct": folder / "ct.nii.gz"},
        masks={"mask": folder / "m.nii.gz"}, image_picks={"pet": Pick(suv=True)} if suv else {},
        mask_picks={"mask": Pick(labels=labels)} if labels else {},
    )  # fmt: skip


def test_what_all_cases_share_is_the_contract(tmp_path: Path) -> None:
    alike = [case(tmp_path, "pet", suv=True, labels=(2,)) for _ in range(2)]
    assert contract_of(alike) == {"suv": ["pet"], "mask_label": {"mask": [2]}}
    assert json.loads(json.dumps(contract_of(alike))) == contract_of(alike)
    assert contract_of([*alike, case(tmp_path, "pet", labels=(1,))]) == {"suv": [], "mask_label": {}}
    assert contract_of([case(tmp_path, "pet")]) == {"suv": [], "mask_label": {}}


def test_a_new_case_is_read_alike_where_it_does_not_say(tmp_path: Path) -> None:
    write_series(tmp_path / "pet", slices(noise()))
    contract = {"suv": ["pet"], "mask_label": {"mask": [2, 3]}}
    read = read_as(case(tmp_path, "pet"), contract)
    assert read.image_pick("pet").suv
    assert not read.image_pick("ct").suv
    assert read.mask_pick("ct").labels == (2, 3)
    assert read_as(case(tmp_path, "pet", labels=(1,)), contract).mask_pick("pet").labels == (1,)
    assert not read_as(case(tmp_path, "pet.nii.gz"), contract).image_pick("pet").suv  # a file that holds SUV
    for nothing in (None, {}, {"suv": [], "mask_label": {}}):
        assert read_as(case(tmp_path, "pet"), nothing) == case(tmp_path, "pet")


def test_the_lesions_value_is_kept_however_the_mask_of_a_lone_image_is_called(tmp_path: Path) -> None:
    files = {"images": {"ct": tmp_path / "ct.nii.gz"}}
    contract = contract_of(
        [
            Case(
                case="c",
                patient="p",
                masks={"ct": tmp_path / "m.nii.gz"},
                mask_picks={"ct": Pick(labels=(2,))},
                **files,
            )
        ]
    )
    new = Case(case="n", patient="n", masks={"mask": tmp_path / "m.nii.gz"}, **files)
    assert read_as(new, contract).mask_pick("ct").labels == (2,)
