"""Attenuation and the detector: the laws of Beer and Lambert and of Poisson, and their limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from radiographs.phantom.exposure import Exposure, detector_signal
from radiographs.phantom.materials import MATERIALS, attenuation

IDEAL = Exposure(photons=1e8, scatter=0, heel=0, anode=0, focus=0, detector=0, electronic=0)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_at_tabulated_energies_the_coefficients_are_those_of_the_table() -> None:
    cortical, soft = (attenuation(60)[MATERIALS.index(name)] for name in ("cortical", "soft"))
    assert cortical == pytest.approx(0.3148 * 1.92 / 10)
    assert soft == pytest.approx(0.2048 * 1.06 / 10)


def test_denser_matter_attenuates_more_and_harder_beams_less() -> None:
    order = [
        MATERIALS.index(m)
        for m in ("nothing", "air", "lung", "fat", "soft", "cancellous", "cortical", "titanium", "steel", "lead")
    ]
    for energy in (30, 45, 60, 80):
        assert (np.diff(attenuation(energy)[order]) > 0).all()
    assert (np.diff([attenuation(e)[1:] for e in (30, 40, 55, 70)], axis=0) < 0).all()


def test_an_energy_outside_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="energy 120 keV"):
        attenuation(120)


def test_no_matter_gives_a_flat_field_of_zero() -> None:
    assert np.abs(detector_signal(np.zeros((64, 48), np.float32), IDEAL, rng())).max() < 1e-3


def test_without_scatter_and_noise_the_signal_is_the_line_integral() -> None:
    integrals = np.random.default_rng(1).uniform(0, 5, (64, 64)).astype(np.float32)
    np.testing.assert_allclose(detector_signal(integrals, IDEAL, rng()), integrals, atol=0.02)


def test_the_noise_is_that_of_counted_photons() -> None:
    signal = detector_signal(np.full((200, 200), 2.0, np.float32), replace(IDEAL, photons=5000), rng())
    assert signal.std() == pytest.approx(1 / np.sqrt(5000 * np.exp(-2)), rel=0.05)


def test_scatter_lowers_contrast_and_never_darkens() -> None:
    integrals = np.zeros((64, 64), np.float32)
    integrals[16:48, 16:48] = 3
    clear, foggy = (detector_signal(integrals, replace(IDEAL, scatter=s), rng()) for s in (0, 0.6))
    assert clear[32, 32] - clear[2, 2] == pytest.approx(3, abs=0.01)
    assert foggy[32, 32] - foggy[2, 2] < 2.9
    assert (foggy <= clear + 0.01).all()


def test_the_heel_effect_darkens_towards_the_anode_alone() -> None:
    signal = detector_signal(np.zeros((32, 32), np.float32), replace(IDEAL, heel=0.3, anode=0.0), rng())
    assert (np.diff(signal.mean(axis=0)) > 0).all()
    assert np.ptp(signal.mean(axis=1)) < 1e-3


def test_blur_keeps_the_number_of_photons() -> None:
    integrals = np.zeros((64, 64), np.float32)
    integrals[24:40, 24:40] = 2
    sharp, soft = (np.exp(-detector_signal(integrals, replace(IDEAL, focus=f), rng())).sum() for f in (0, 1.5))
    assert soft == pytest.approx(sharp, rel=1e-3)
