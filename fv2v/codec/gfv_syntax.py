# SPDX-License-Identifier: Apache-2.0
"""The syntax of GFV and GFVE messages: `Bits` writes or reads, so each is stated once.

Values are multiples of a power of 2, which float64 holds exactly. HM replaces its base matrices with every
message; here a base stays until the next base picture, as it does for coordinates.
"""

from dataclasses import dataclass

import numpy as np

from fv2v.codec.bits import Bits
from fv2v.codec.gfv_types import (
    AFFINE,
    CHROMA_KEY,
    COVARIANCE,
    ELEMENTS,
    FEATURE,
    LOCATION,
    MOST,
    ROTATION,
    TRANSLATION,
    Coordinates,
    Enhancement,
    Matrices,
    Message,
    Network,
)
from fv2v.codec.range_coder import CodecError


@dataclass(slots=True)
class Reference:
    """What messages of one kind are predicted from: a base's values, and those of the message before."""

    base: Message | Enhancement | None = None
    before: Message | Enhancement | None = None
    pupils: tuple[np.ndarray, np.ndarray] | None = None  # of the message before
    base_pupils: tuple[np.ndarray, np.ndarray] | None = None


def code_message(bits: Bits, m: Message, reference: Reference) -> Message:
    """The message as a decoder has it: its values rounded."""
    m = Message(
        id=bits.ue(m.id),
        number=bits.ue(m.number),
        base=m.base,
        network=m.network,
        chroma_key=m.chroma_key,
        fusion=m.fusion,
        low_confidence=m.low_confidence,
        coordinates=m.coordinates,
        matrices=m.matrices,
        matrix_precision=m.matrix_precision,
        matrices_predicted=m.matrices_predicted,
    )
    m.base = m.number == 0 and bits.flag(m.base)
    if m.base:
        m.network = _network(bits, m.network)
        if bits.flag(m.chroma_key is not None):
            m.chroma_key = _chroma_key(bits, m.chroma_key or CHROMA_KEY)
    else:
        m.fusion = bits.flag(m.fusion)
    m.low_confidence = bits.flag(m.low_confidence)
    if bits.flag(m.coordinates is not None):
        m.coordinates = _coordinates(bits, m, reference)
    if bits.flag(bool(m.matrices)):
        m.matrices = _matrices(bits, m, reference)
    elif m.coordinates is None:
        raise CodecError("expected coordinates or matrices in a message, got neither")
    _network_data(bits, m.network)
    _remember(m, reference)
    return m


def code_enhancement(bits: Bits, m: Enhancement, reference: Reference) -> Enhancement:
    m = Enhancement(
        id=bits.ue(m.id),
        gfv_id=bits.ue(m.gfv_id),
        number=bits.ue(m.number),
        base=m.base,
        network=m.network,
        matrices=m.matrices,
        matrix_precision=m.matrix_precision,
        matrices_predicted=m.matrices_predicted,
        pupils=m.pupils,
        pupil_precision=m.pupil_precision,
    )
    m.base = m.number == 0 and bits.flag(m.base)
    if m.base:
        m.network = _network(bits, m.network)
    if bits.flag(bool(m.matrices)):
        m.matrices = _enhancing_matrices(bits, m, reference)
    _pupils(bits, m, reference)
    _network_data(bits, m.network)
    _remember(m, reference)
    return m


def _remember(m: Message | Enhancement, reference: Reference) -> None:
    if m.base:
        reference.base = m
    reference.before = m


def _network(bits: Bits, network: Network | None) -> Network | None:
    if not bits.flag(network is not None):
        return None
    network = network or Network()
    if bits.ue(int(network.uri is not None), 1):
        bits.align()
        return Network(tag=bits.text(network.tag), uri=bits.text(network.uri or ""))
    return network


def _network_data(bits: Bits, network: Network | None) -> None:
    if network is not None and network.uri is None:
        bits.align()
        network.data = bits.rest(network.data)


def _chroma_key(bits: Bits, key: tuple[int, ...]) -> tuple[int, int, int, int, int]:
    """Each where it differs from its default."""
    found = []
    for i, (value, default) in enumerate(zip(key, CHROMA_KEY, strict=True)):
        stated = bits.flag(value != default)
        found.append((bits.u(8, value) if i < 3 else bits.ue(value)) if stated else default)
    a, b, c, d, e = found
    return a, b, c, d, e


def _coordinates(bits: Bits, m: Message, reference: Reference) -> Coordinates:
    given = m.coordinates or Coordinates(np.zeros((1, 2)))
    predicted = bits.flag(given.predicted)
    if m.base or not predicted:
        precision = bits.ue(given.precision - 1, 31) + 1
        K = bits.ue(len(given.values) - 1, MOST - 1) + 1
        axes = 2 + bits.flag(given.values.shape[1] == 3)
        z_max = bits.ue(given.z_max - 1) + 1 if axes == 3 else 1
        before = None
    else:
        source = _source(m, reference)
        first = reference.base
        if not isinstance(source, Message) or not isinstance(first, Message):
            raise CodecError("coordinates that are predicted from a message that is not there")
        if source.coordinates is None or first.coordinates is None:
            raise CodecError("coordinates that are predicted from a message without any")
        before = source.coordinates.values
        precision, z_max = first.coordinates.precision, first.coordinates.z_max
        K, axes = before.shape
    if bits.writes and given.values.shape != (K, axes):
        raise ValueError(f"expected coordinates {(K, axes)}, got {given.values.shape}")
    values = np.zeros((K, axes))
    for k in range(K):
        for axis in range(axes):
            start = 0.0 if before is None else before[k, axis]
            if m.base and predicted and k:
                start = values[k - 1, axis]
            away = given.values[k, axis] - start if bits.writes else 0.0
            values[k, axis] = start + _signed(bits, away, precision, whole=False)
    return Coordinates(values, precision, predicted, z_max)


def _signed(bits: Bits, value: float, precision: int, *, whole: bool, golomb: bool = False) -> float:
    """A multiple of 2^-precision: its size, then its sign unless it is 0.

    `whole`: what is before the point as Exp-Golomb, what is after it in `precision` bits, or Exp-Golomb too.
    """
    size = round(abs(value) * (1 << precision))
    if whole:
        unit = 1 << precision
        high = bits.ue(size >> precision)
        low = bits.ue(size % unit, unit - 1) if golomb else bits.u(precision, size % unit)
        size = high * unit + low
    else:
        size = bits.ue(size)
    sign = -1.0 if size and bits.flag(value < 0) else 1.0
    return sign * size / (1 << precision)


def _source(m: Message | Enhancement, reference: Reference) -> Message | Enhancement | None:
    return reference.base if m.number == 0 else reference.before


def _matrices(bits: Bits, m: Message, reference: Reference) -> list[Matrices]:
    m.matrices_predicted = not m.base and bits.flag(m.matrices_predicted)
    shapes: list[tuple[int, tuple[int, int, int]]]
    if m.matrices_predicted:
        m.matrix_precision, shapes, before = _predicted_from(m, reference)
    else:
        m.matrix_precision = bits.ue(m.matrix_precision - 1, 31) + 1
        count = bits.ue(len(m.matrices) - 1, 63) + 1
        given = m.matrices if bits.writes else [Matrices(np.zeros((1, 1, 1)))] * count
        shapes = [_shape(bits, each, m.coordinates) for each in given]
        before = None
    return _elements(bits, m, shapes, before, golomb=True)


def _shape(bits: Bits, given: Matrices, coordinates: Coordinates | None) -> tuple[int, tuple[int, int, int]]:
    """The type of some matrices, and their number, height and width."""
    kind = bits.u(6, given.kind)
    count, height, width = given.values.shape
    axes = 2 if coordinates is None else coordinates.values.shape[1]
    if kind in (AFFINE, COVARIANCE):
        if coordinates is None:
            raise CodecError("affine and covariance matrices are one a keypoint: expected coordinates")
        K = len(coordinates.values)
        if bits.flag(count == K):
            return kind, (K, axes, axes)
        stated = bits.ue(count - 1 if count < K else count - 2, MOST - 1)
        return kind, (stated + 1 if stated < K - 1 else stated + 2, axes, axes)
    if kind in (ROTATION, TRANSLATION, LOCATION):
        if coordinates is None:
            axes = 2 + bits.flag(height == 3)
        return kind, (1, axes, axes if kind == ROTATION else 1)
    count = bits.ue(count - 1, MOST - 1) + 1 if kind >= FEATURE else 1
    width = bits.ue(width - 1, MOST - 1) + 1
    return kind, (count, bits.ue(height - 1, MOST - 1) + 1, width)


def _enhancing_matrices(bits: Bits, m: Enhancement, reference: Reference) -> list[Matrices]:
    m.matrices_predicted = not m.base and bits.flag(m.matrices_predicted)
    if m.matrices_predicted:
        m.matrix_precision, shapes, before = _predicted_from(m, reference)
    else:
        m.matrix_precision = bits.ue(m.matrix_precision - 1, 31) + 1
        count = bits.ue(len(m.matrices) - 1, MOST - 1) + 1
        given = m.matrices if bits.writes else [Matrices(np.zeros((1, 1, 1)))] * count
        shapes, before = [], None
        for each in given:
            height = bits.ue(each.values.shape[1] - 1, MOST - 1) + 1
            shapes.append((FEATURE, (1, height, bits.ue(each.values.shape[2] - 1, MOST - 1) + 1)))
    return _elements(bits, m, shapes, before, golomb=False)


def _predicted_from(
    m: Message | Enhancement, reference: Reference
) -> tuple[int, list[tuple[int, tuple[int, int, int]]], list[np.ndarray]]:
    """The base's precision, and shapes; the values that changes are added to."""
    source, base = _source(m, reference), reference.base
    if source is None or base is None or not base.matrices:
        raise CodecError("matrices that are predicted from a message that is not there")
    shapes = [(each.kind, each.values.shape) for each in base.matrices]
    if [(each.kind, each.values.shape) for each in source.matrices] != shapes:
        raise CodecError("matrices that are predicted from others of another size")
    return base.matrix_precision, shapes, [each.values for each in source.matrices]


def _elements(
    bits: Bits,
    m: Message | Enhancement,
    shapes: list[tuple[int, tuple[int, int, int]]],
    before: list[np.ndarray] | None,
    *,
    golomb: bool,
) -> list[Matrices]:
    if sum(int(np.prod(shape)) for _, shape in shapes) > ELEMENTS:
        raise CodecError(f"expected at most {ELEMENTS} elements of matrices")
    if bits.writes and [each.values.shape for each in m.matrices] != [shape for _, shape in shapes]:
        raise ValueError(f"expected matrices {shapes}, got {[each.values.shape for each in m.matrices]}")
    made = []
    for i, (kind, shape) in enumerate(shapes):
        values = np.zeros(shape)
        for at in np.ndindex(*shape):
            start = 0.0 if before is None else before[i][at]
            away = m.matrices[i].values[at] - start if bits.writes else 0.0
            by_golomb = golomb and before is not None
            values[at] = start + _signed(bits, away, m.matrix_precision, whole=True, golomb=by_golomb)
        made.append(Matrices(values, kind))
    return made


def _pupils(bits: Bits, m: Enhancement, reference: Reference) -> None:
    left, right = m.pupils
    present = bits.u(2, (left is not None) + 2 * (right is not None))
    base = reference.base if isinstance(reference.base, Enhancement) else None
    if present and m.base:
        m.pupil_precision = bits.ue(m.pupil_precision - 1, 31) + 1
    elif present:
        if base is None or reference.base_pupils is None:
            raise CodecError("pupils without any in the base picture's message")
        m.pupil_precision = base.pupil_precision
    if m.base:
        start = None
        reference.base_pupils = None
    else:
        start = reference.base_pupils if m.number == 0 else reference.pupils
    zero = np.zeros(2)
    found_left = start[0] if start else zero
    if present & 1:
        found_left = _point(bits, left, found_left, m.pupil_precision)
    found_right = found_left if m.base else (start[1] if start else zero)
    if present & 2:
        found_right = _point(bits, right, found_right, m.pupil_precision)
    if present and m.base:
        reference.base_pupils = (found_left, found_right)
    if reference.base_pupils is not None:
        reference.pupils = (found_left, found_right)
    m.pupils = (found_left if present & 1 else None, found_right if present & 2 else None)


def _point(bits: Bits, point: np.ndarray | None, start: np.ndarray, precision: int) -> np.ndarray:
    away = np.zeros(2) if point is None else point - start
    return np.array([start[i] + _signed(bits, float(away[i]), precision, whole=False) for i in range(2)])
