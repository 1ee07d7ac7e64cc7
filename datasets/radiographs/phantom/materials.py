"""Linear attenuation coefficients of the materials that a phantom is made of.

Mass attenuation coefficients (with coherent scattering) and densities are those of Hubbell and Seltzer, "Tables of X-Ray Mass
Attenuation Coefficients", NIST Standard Reference Database 126 (https://doi.org/10.18434/T4D01F), for the tissues of ICRU
Report 44 (1989). Cancellous bone is the spongiosa of ICRU Report 46 (1992) and plaster is CaSO4·2H2O, both mixed from the elements
with the same database's rule, sum of weight × coefficient. Inflated lung has the density of ICRU Report 44.
"""

from __future__ import annotations

import numpy as np

ENERGIES = (30.0, 40.0, 50.0, 60.0, 80.0, 100.0)  # keV

# material: density in g/cm³, mass attenuation coefficient in cm²/g at each of ENERGIES
_TABLE: dict[str, tuple[float, tuple[float, ...]]] = {
    "nothing": (0.0, (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)),
    "air": (1.205e-3, (0.3538, 0.2485, 0.2080, 0.1875, 0.1662, 0.1541)),
    "lung": (0.26, (0.3815, 0.2699, 0.2270, 0.2053, 0.1826, 0.1695)),
    "fat": (0.95, (0.3063, 0.2396, 0.2123, 0.1974, 0.1800, 0.1688)),
    "soft": (1.06, (0.3790, 0.2688, 0.2264, 0.2048, 0.1823, 0.1693)),
    "cancellous": (1.18, (0.6631, 0.3878, 0.2860, 0.2381, 0.1948, 0.1745)),
    "cortical": (1.92, (1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855)),
    "plaster": (1.20, (1.562, 0.7621, 0.4730, 0.3426, 0.2341, 0.1909)),  # a set bandage is half air
    "titanium": (4.54, (4.972, 2.214, 1.213, 0.7661, 0.4052, 0.2721)),
    "steel": (7.87, (8.176, 3.629, 1.958, 1.205, 0.5952, 0.3717)),
    "lead": (11.35, (30.32, 14.36, 8.041, 5.021, 2.419, 5.549)),
}
MATERIALS = tuple(_TABLE)


def attenuation(energy: float) -> np.ndarray:
    """Return the linear attenuation coefficient of each of `MATERIALS`.

    Between the tabulated energies the logarithms are interpolated, as is usual away from absorption edges (lead's K edge at
    88 keV lies in the last interval, which diagnostic effective energies do not reach).

    Parameters
    ----------
    energy : float
        Effective photon energy of the beam in keV, 30 to 100.

    Returns
    -------
    ndarray of shape (n_materials,), float64
        In 1/mm.

    Raises
    ------
    ValueError
        If the energy lies outside the table.
    """
    if not ENERGIES[0] <= energy <= ENERGIES[-1]:
        raise ValueError(f"energy {energy:g} keV: the attenuation table covers {ENERGIES[0]:g} to {ENERGIES[-1]:g} keV")
    logs = [np.interp(np.log(energy), np.log(ENERGIES), np.log(column)) for _, column in _TABLE.values()]
    densities = np.array([density for density, _ in _TABLE.values()])
    return np.exp(logs) * densities / 10
