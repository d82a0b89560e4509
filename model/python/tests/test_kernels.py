"""The kernels against their definition, and the definition against formulas of NumPy."""

from __future__ import annotations

import math
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shufflenet
from shufflenet import kernels
from shufflenet.kernels import BatchNorm, ChannelOrder, reference, testing

ISAS = st.sampled_from(shufflenet.isas())
settings.register_profile("project", deadline=None, max_examples=60)
settings.load_profile("project")


@given(testing.pointwise(groups=True, bias=True), ISAS)
def test_pointwise(problem, isa):
    operator = kernels.Pointwise(problem.weights, problem.bias, groups=problem.groups, isa=isa)
    problem.check(operator(problem.images))


@given(testing.depthwise(bias=True, dilation=True), ISAS)
def test_depthwise(problem, isa):
    options = {"stride": problem.stride, "padding": problem.padding, "dilation": problem.dilation, "isa": isa}
    problem.check(kernels.Depthwise(problem.weights, problem.bias, **options)(problem.images))


@given(testing.convolution(bias=True, groups=True, dilation=True), ISAS)
def test_convolution(problem, isa):
    options = {"stride": problem.stride, "padding": problem.padding, "dilation": problem.dilation, "isa": isa}
    problem.check(
        kernels.Convolution(problem.weights, problem.bias, groups=problem.groups, **options)(problem.images)
    )


@given(testing.linear(bias=True), ISAS)
def test_linear(problem, isa):
    problem.check(kernels.Linear(problem.weights, problem.bias, isa=isa)(problem.images))


@given(testing.max_pool(), ISAS)
def test_max_pool(problem, isa):
    operator = kernels.MaxPool(problem.kernel, stride=problem.stride, padding=problem.padding, isa=isa)
    problem.check(operator(problem.images))


@given(testing.average_pool(), ISAS)
def test_average_pool(problem, isa):
    operator = kernels.AveragePool(problem.kernel, stride=problem.stride, padding=problem.padding, isa=isa)
    problem.check(operator(problem.images))


@given(testing.shuffle())
def test_shuffle(problem):
    problem.check(kernels.shuffle(problem.images, problem.groups))


@given(testing.pointwise(groups=True))
def test_a_shuffle_that_moves_nothing(problem):
    channels = problem.images.shape[1]
    order = ChannelOrder(np.random.default_rng(channels).permutation(channels).tolist())
    operator = kernels.Pointwise(problem.weights, groups=problem.groups, input_order=order)
    moved = np.empty_like(problem.images)
    moved[:, order.slots] = problem.images
    problem.check(operator(moved))


def test_a_wrong_kernel_is_found_and_told():
    def forgets_what_does_not_fill_a_vector(images, weights):
        ic = images.shape[1] // 8 * 8
        return np.einsum("oi,nihw->nohw", weights[:, :ic], images[:, :ic])

    @settings(database=None)
    @given(testing.pointwise())
    def holds(problem):
        problem.check(forgets_what_does_not_fill_a_vector(problem.images, problem.weights))

    with pytest.raises(
        AssertionError, match=r"pointwise\(images=\(1, 1, 1, 1\), weights=\(1, 1\)\): at \(0, 0, 0, 0\)"
    ):
        holds()


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(2, 12, 9, 7)).astype(np.float32)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def windows(images: np.ndarray, kernel: int, stride: int, padding: int, fill: float = 0.0) -> np.ndarray:
    """(n, c, oh, ow, kh, kw)."""
    sides = [(0, 0), (0, 0), (padding, padding), (padding, padding)]
    padded = np.pad(images.astype(np.float64), sides, constant_values=fill)
    found = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
    return found[:, :, ::stride, ::stride]


def test_the_definition_is_the_formula(images):
    weights, bias = random(8, 12), random(8)
    expected = np.einsum("oi,nihw->nohw", weights, images.astype(np.float64)) + bias[:, None, None]
    np.testing.assert_allclose(reference.pointwise(images, weights, bias), expected)
    np.testing.assert_allclose(reference.pointwise(images, weights[..., None, None], bias), expected)

    weights = random(12, 3, 3)
    expected = np.einsum("ckl,nchwkl->nchw", weights, windows(images, 3, 2, 1))
    np.testing.assert_allclose(reference.depthwise(images, weights, stride=2, padding=1), expected)

    weights = random(5, 12, 3, 3)
    expected = np.einsum("ockl,nchwkl->nohw", weights, windows(images, 3, 2, 1))
    np.testing.assert_allclose(reference.convolution(images, weights, stride=2, padding=1), expected)
    halves = np.split(images, 2, axis=1)
    groups = [reference.convolution(half, w) for half, w in zip(halves, np.split(random(4, 6, 3, 3), 2))]
    np.testing.assert_allclose(
        reference.convolution(images, random(4, 6, 3, 3), groups=2), np.concatenate(groups, 1)
    )

    expected = windows(images, 3, 2, 1, -np.inf).max((4, 5))
    assert np.array_equal(reference.max_pool(images, 3, stride=2, padding=1), expected)
    expected = windows(images, 3, 2, 1).mean((4, 5))
    np.testing.assert_allclose(reference.average_pool(images, 3, stride=2, padding=1), expected)

    expected = images.reshape(2, 3, 4, 9, 7).transpose(0, 2, 1, 3, 4).reshape(images.shape)
    assert np.array_equal(reference.shuffle(images, 3), expected)
    assert np.array_equal(kernels.shuffle(images, 3), expected)

    rows, weights = random(3, 12), random(7, 12)
    np.testing.assert_allclose(
        reference.linear(rows, weights), rows.astype(np.float64) @ weights.T.astype(np.float64)
    )


def test_what_is_fused(images):
    weights = random(20, 12)
    norm = BatchNorm(random(20), random(20), random(20), np.abs(random(20)) + 0.5, 1e-3)
    residual = random(2, 20, 9, 7)
    operator = kernels.Pointwise(weights, random(20), batch_norm=norm, activation="relu6")
    expected = reference.batch_norm(reference.pointwise(images, weights, random(20)), norm) + residual
    np.testing.assert_allclose(
        operator(images, residual=residual), reference.activate(expected, "relu6"), rtol=1e-4, atol=1e-4
    )
    scale, shift = random(12), random(12)
    found = kernels.Affine(scale, shift, activation="relu")(images)
    expected = reference.activate(reference.affine(images, scale, shift), "relu")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        kernels.global_average(images), reference.global_average(images), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(kernels.softmax(scale[None]), reference.softmax(scale[None]), rtol=1e-5)


@pytest.mark.parametrize(
    "activation", ["hard_sigmoid", "hard_swish", "sigmoid", "silu", "tanh", "gelu", "gelu_tanh"]
)
def test_curves(images, activation):
    found = kernels.Affine(np.full(12, 3), np.zeros(12), activation=activation)(images)
    expected = reference.activate(images.astype(np.float64) * 3, activation)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    x = np.array([-2.0, 0.0, 1.0])
    formulas = {
        "hard_sigmoid": np.clip(x / 6 + 0.5, 0, 1),
        "hard_swish": x * np.clip(x / 6 + 0.5, 0, 1),
        "sigmoid": 1 / (1 + np.exp(-x)),
        "silu": x / (1 + np.exp(-x)),
        "tanh": np.tanh(x),
        "gelu": [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x],
        "gelu_tanh": 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    }
    np.testing.assert_allclose(reference.activate(x, activation), formulas[activation], atol=1e-12)


def test_orders():
    identity = ChannelOrder.identity(8)
    shuffled = identity.shuffle(2)
    assert shuffled.slots == [0, 4, 1, 5, 2, 6, 3, 7]
    first, second = shuffled.split(4)
    assert second.slots == [2, 6, 3, 7] and len(second) == 4 and second.width == 8
    assert ChannelOrder.concat(first, second) == shuffled
    assert shuffled.select(shuffled.inverse()) == identity
    assert hash(ChannelOrder(shuffled.slots)) == hash(shuffled)
    assert repr(first) == "ChannelOrder([0, 4, 1, 5])"
    assert pickle.loads(pickle.dumps(shuffled)) == shuffled
    images = random(1, 8, 3, 3)
    assert np.array_equal(kernels.Materialize(second)(images), images[:, second.slots])
    assert np.array_equal(reference.gather(images, second), images[:, second.slots])


def test_out_is_written_where_it_lies(images):
    operator = kernels.Pointwise(random(12, 12))
    out = np.full((2, 12, 9, 7), np.nan, np.float32)
    assert operator(images, out=out) is out
    assert np.array_equal(out, operator(images))
    with pytest.raises(ValueError, match=r"out: expected shape \[2, 12, 9, 7\], found \[1, 12, 9, 7\]"):
        operator(images, out=out[:1])
    with pytest.raises(ValueError, match="out: "):
        operator(images, out=images)
    with pytest.raises(ValueError, match="out: expected an array in C order"):
        operator(images, out=np.asfortranarray(out))
    read_only = out.copy()
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="out: "):
        operator(images, out=read_only)
    with pytest.raises(TypeError):
        operator(images, out=out.astype(np.float64))


def test_threads_share_an_operator(images):
    operator = kernels.Convolution(random(16, 12, 3, 3), padding=1)
    expected = operator(images)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: operator(images), range(100)):
            assert np.array_equal(found, expected)


def test_nan_goes_where_the_definition_says(images):
    broken = images.copy()
    broken[0, 3, 4, 2] = np.nan
    for found, expected in (
        (kernels.Pointwise(random(5, 12))(broken), reference.pointwise(broken, random(5, 12))),
        (
            kernels.Depthwise(random(12, 3, 3), padding=1)(broken),
            reference.depthwise(broken, random(12, 3, 3), padding=1),
        ),
        (kernels.MaxPool(3, padding=1)(broken), reference.max_pool(broken, 3, padding=1)),
    ):
        assert np.isnan(expected).any() and np.array_equal(np.isnan(found), np.isnan(expected))


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda x: kernels.Pointwise(random(8, 12))(x[:, :11]), "pointwise from 12 to 8 slots"),
        (lambda x: kernels.Pointwise(random(8, 12))(x[0]), "images: expected 4 dimensions"),
        (lambda x: kernels.Pointwise(random(8, 12), random(7)), "bias: expected 8 elements, found 7"),
        (lambda x: kernels.Pointwise(random(8, 12), groups=3), "do not divide into 3 groups"),
        (lambda x: kernels.Pointwise(random(8, 12), groups=0), "groups"),
        (lambda x: kernels.Pointwise(random(8, 12), groups=-1), "groups: expected a whole number"),
        (lambda x: kernels.Pointwise(random(8, 12, 3, 3)), r"expected shape \(oc, ic / groups, 1, 1\)"),
        (lambda x: kernels.Pointwise(random(0, 12)), "both must be at least 1"),
        (
            lambda x: kernels.Pointwise(random(8, 12), activation="swoosh"),
            "activation: expected None or one of relu",
        ),
        (lambda x: kernels.Pointwise(random(8, 12), isa="mmx"), "isa: instruction set"),
        (
            lambda x: kernels.Pointwise(random(8, 12))(x, residual=x),
            r"residual: expected shape \[2, 8, 9, 7\]",
        ),
        (lambda x: kernels.Pointwise(random(8, 12), batch_norm=BatchNorm(*[random(7)] * 4)), "expected 8"),
        (lambda x: kernels.Pointwise([["a"]]), "weights: expected numbers"),
        (lambda x: kernels.Depthwise(random(12, 3, 3), stride=0), "stride"),
        (lambda x: kernels.Convolution(random(8, 12, 3, 3), dilation=(1, 0)), "dilation"),
        (lambda x: kernels.Convolution(random(8, 6, 3, 3), groups=3), "groups"),
        (lambda x: kernels.Depthwise(random(12, 3, 3), padding=1 << 20)(x), "more than"),
        (lambda x: kernels.Depthwise(random(12, 2, 3, 3)), r"expected shape \(channels, 1, kh, kw\)"),
        (
            lambda x: kernels.Depthwise(random(12, 3, 3), padding="valid"),
            "padding: expected numbers or 'same'",
        ),
        (
            lambda x: kernels.Depthwise(random(12, 3, 3), padding=(1, 1, 1)),
            "padding: expected one number or two",
        ),
        (lambda x: kernels.Depthwise(random(12, 3, 3))(x[:, :, :2]), "does not fit an image of 2x7"),
        (lambda x: kernels.MaxPool(3)(x[:, :, :, :0]), "side of zero"),
        (lambda x: ChannelOrder.identity(1 << 30), "more than"),
        (lambda x: ChannelOrder([1 << 31]), "more than"),
        (lambda x: ChannelOrder.identity(8).shuffle(3), "8 channels in 3 groups"),
        (lambda x: reference.pointwise(x, random(8, 11)), "do not divide"),
        (lambda x: reference.pointwise(x, random(8, 12), random(3)), "bias: expected 8 elements, found 3"),
        (lambda x: reference.pointwise(x[:0], random(8, 12)), "from 1 to"),
        (lambda x: reference.depthwise(x, random(12, 3, 3), stride=0), "does not fit"),
        (lambda x: reference.depthwise(x, random(12, 0, 3)), "does not fit"),
        (lambda x: reference.depthwise(x, random(12, 3, 3), padding=1 << 31), "from 1 to"),
        (lambda x: reference.max_pool(x, 3, padding=3), "smaller than the kernel"),
        (lambda x: reference.max_pool(x, 0), "smaller than the kernel"),
        (lambda x: reference.gather(x, ChannelOrder([12])), "slot 12"),
        (lambda x: reference.linear(random(2, 3), random(4, 5)), "expected 3 elements, found 5"),
        (lambda x: reference.convolution(x, random(4, 12, 3, 3), groups=5), "groups"),
    ],
)
def test_wrong_calls(images, call, why):
    with pytest.raises(ValueError, match=why):
        call(images)


def test_same_padding_is_tensorflows(images):
    weights = random(12, 3, 3)
    expected = reference.depthwise(images, weights, stride=2, padding=(1, 1, 1, 1))
    assert np.array_equal(reference.depthwise(images, weights, stride=2, padding="same"), expected)
    found = kernels.Depthwise(weights, stride=2, padding="same")(images)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
