"""Which pretrained weights a run may use: the user's folder, the licences, and networks asked for by name.

It is handed on through the environment, as the artefact cache's place is: families, which are asked for their space
with nothing but a fingerprint, and worker processes read the same there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PERMISSIVE = ("Apache-2.0", "BSD-3-Clause", "CC-BY-4.0", "MIT")
"""Licences under which weights may be used for anything; meant by the word ``permissive``."""
OWN = "own"
"""The licence of weights of one's own, which need nobody's leave."""
ANY = "any"
NOTHING = ","
"""What a variable says where no licence or no network is allowed: an empty text is as good as none."""
FOLDER, LICENCES, NETWORKS = "AUTOONCO_WEIGHTS_DIR", "AUTOONCO_ALLOW_LICENCES", "AUTOONCO_NETWORKS"


@dataclass(frozen=True, kw_only=True)
class Access:
    """What may be used of the weights that are on a machine.

    Parameters
    ----------
    folder
        Folder that ``autoonco weights fetch`` prepared.
    licences
        Licences that are allowed, ``permissive`` for all of `PERMISSIVE`, ``any`` for whatever there is.
    networks
        Names of the only pretrained networks to use; None for all.

    Examples
    --------
    >>> Access().allows("MIT"), Access().allows("CC-BY-NC-4.0")
    (True, False)
    >>> Access(licences=("permissive", "cc-by-nc-4.0")).allows("CC-BY-NC-4.0")
    True
    """

    folder: Path | None = None
    licences: tuple[str, ...] = ("permissive",)
    networks: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls,
        *,
        weights_dir: str | Path | None = None,
        allow_licences: Sequence[str] | None = None,
        networks: Sequence[str] | None = None,
    ) -> Self:
        """Return what these arguments allow; what is None is as the environment says, or else the default.

        A single text is taken as the command line takes it: ``"MIT,CC-BY-NC-4.0"``.
        """
        given = cls.current()
        return cls(
            folder=given.folder if weights_dir is None else Path(weights_dir).absolute(),
            licences=given.licences if allow_licences is None else _several(allow_licences),
            networks=given.networks if networks is None else _several(networks),
        )

    @classmethod
    def current(cls) -> Self:
        """Return what the environment of this process says."""
        folder, licences, networks = (os.environ.get(name) for name in (FOLDER, LICENCES, NETWORKS))
        return cls(
            folder=Path(folder) if folder else None,
            licences=_names(licences) if licences else ("permissive",),
            networks=_names(networks) if networks else None,
        )

    def environment(self) -> dict[str, str]:
        """Return the variables that say the same to another process; an empty text is as good as none."""
        return {
            FOLDER: str(self.folder) if self.folder else "",
            LICENCES: ",".join(self.licences) or NOTHING,
            NETWORKS: "" if self.networks is None else ",".join(self.networks) or NOTHING,
        }

    def allows(self, licence: str) -> bool:
        """Return whether weights of a licence may be used; upper and lower case are the same."""
        allowed = {name.casefold() for name in self.licences}
        if "permissive" in allowed:
            allowed |= {name.casefold() for name in PERMISSIVE}
        return ANY in allowed or licence.casefold() in allowed | {OWN}


@contextmanager
def using(access: Access) -> Iterator[None]:
    """Let `access` hold inside the block, for this process and those that it starts."""
    before = {name: os.environ.get(name) for name in (FOLDER, LICENCES, NETWORKS)}
    os.environ.update(access.environment())
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _several(given: Sequence[str]) -> tuple[str, ...]:
    return _names(given) if isinstance(given, str) else tuple(given)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
