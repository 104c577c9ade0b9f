"""Light of photographed places: harmonics are what they are called, and places can be turned."""

import numpy as np
import pytest

from handgen.stages.simulate.environments import environments, harmonics
from handgen.stages.simulate.light import Lighting, make_lighting


def sphere(count=20_000):
    """Directions spread evenly (a Fibonacci lattice)."""
    i = np.arange(count) + 0.5
    z, azimuth = 1 - 2 * i / count, np.pi * (1 + 5**0.5) * i
    return np.stack([np.sqrt(1 - z * z) * np.cos(azimuth), np.sqrt(1 - z * z) * np.sin(azimuth), z], -1)


def test_the_harmonics_are_orthonormal():
    values = harmonics(sphere())
    np.testing.assert_allclose(values.T @ values * 4 * np.pi / len(values), np.eye(9), atol=1e-3)


@pytest.mark.parametrize("place", environments(), ids=lambda place: place.name)
def test_a_place_can_be_turned_and_gives_light_from_everywhere(place):
    turned, angle = place.turned(1.1), 1.1
    back = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    normals = sphere(200)
    np.testing.assert_allclose(
        harmonics(normals) @ turned.harmonics, harmonics(normals @ back.T) @ place.harmonics, atol=1e-9
    )
    np.testing.assert_allclose(back @ turned.towards_key, place.towards_key, atol=1e-9)
    # Nine harmonics ring a little below zero where there is hardly any light; what faces the key light gets 1.
    arriving = harmonics(normals) @ place.harmonics
    assert arriving.min() > -0.2 and (arriving > 0).mean() > 0.8
    facing = place.key + harmonics(place.towards_key[None])[0] @ place.harmonics
    assert facing.mean() == pytest.approx(1, abs=1e-3)
    assert place.key.min() > 0 and np.linalg.norm(place.towards_key) == pytest.approx(1, abs=1e-3)


def test_drawn_and_photographed_light_are_both_used_and_exposed_alike():
    found: dict[bool, list[float]] = {True: [], False: []}
    forward = np.array([[0.0, 1.0, 0.0]])
    for seed in range(200):
        lighting = make_lighting(np.random.default_rng(seed))
        towards = lighting.key_position / np.linalg.norm(lighting.key_position)
        light = max(float(towards[1]), 0.0) * lighting.key + lighting.ambient(forward, np.ones(1))[0]
        assert (lighting.key + lighting.ambient(towards[None], np.ones(1))).mean() < 2.5  # nothing far beyond white
        found[lighting.around is not None].append(float(light.mean()))
    assert 50 < len(found[True]) < 110  # four in ten
    assert np.median(found[True]) == pytest.approx(np.median(found[False]), rel=0.25)


def test_light_of_a_place_is_dimmed_where_little_of_it_is_seen():
    lighting = Lighting(
        np.array([0.0, 0, 2]), 0.1, np.ones(3), (), np.zeros(3), np.zeros(3), environments()[0].harmonics
    )
    normals = np.repeat([[0.0, 0.0, 1.0]], 2, 0)
    open_, half = lighting.ambient(normals, np.array([1.0, 0.5]))
    np.testing.assert_allclose(half, open_ / 2)
    assert open_.min() > 0
