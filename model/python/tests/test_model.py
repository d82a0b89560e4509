"""A network from a file: what it computes, of what, and on whose threads."""

from __future__ import annotations

import multiprocessing
import pickle
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import CLASSES, STAGES, photo, png, save, tensors

import shufflenet
from shufflenet.kernels import BatchNorm, reference

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def by_definition(weights: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """The whole network as naive loops in float64: Table 5 of the paper, wired as torchvision."""

    def norm(x: np.ndarray, name: str, activation: str | None = "relu") -> np.ndarray:
        names = ("weight", "bias", "running_mean", "running_var")
        return reference.activate(
            reference.batch_norm(x, BatchNorm(*(weights[f"{name}.{n}"] for n in names))), activation
        )

    def conv(x: np.ndarray, name: str) -> np.ndarray:
        return reference.pointwise(x, weights[f"{name}.weight"])

    def depthwise(x: np.ndarray, name: str, stride: int) -> np.ndarray:
        return reference.depthwise(x, weights[f"{name}.weight"], stride=stride, padding=1)

    x = norm(reference.convolution(images, weights["conv1.0.weight"], stride=2, padding=1), "conv1.1")
    x = reference.max_pool(x, 3, stride=2, padding=1)
    for stage, repeats in enumerate(STAGES["repeats"], 2):
        for unit in range(repeats):
            name = f"stage{stage}.{unit}"
            if unit == 0:
                passed = norm(depthwise(x, f"{name}.branch1.0", 2), f"{name}.branch1.1", None)
                passed = norm(conv(passed, f"{name}.branch1.2"), f"{name}.branch1.3")
                main = x
            else:
                passed, main = np.split(x, 2, axis=1)
            main = norm(conv(main, f"{name}.branch2.0"), f"{name}.branch2.1")
            main = depthwise(main, f"{name}.branch2.3", 2 if unit == 0 else 1)
            main = norm(main, f"{name}.branch2.4", None)
            main = norm(conv(main, f"{name}.branch2.5"), f"{name}.branch2.6")
            x = reference.shuffle(np.concatenate([passed, main], axis=1), 2)
    x = norm(conv(x, "conv5.0"), "conv5.1")
    return reference.linear(reference.global_average(x), weights["fc.weight"], weights["fc.bias"])


def test_logits_are_those_of_the_definition(model, weights, batch):
    expected = by_definition(weights, batch)
    for isa in shufflenet.isas():
        found = shufflenet.load(model.path, isa=isa)(batch)
        assert found.dtype == np.float32 and found.shape == (5, CLASSES) and found.flags.c_contiguous
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    probabilities = model(batch, probabilities=True)
    np.testing.assert_allclose(probabilities, reference.softmax(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", ["0.5", "1.0"])
def test_logits_are_torchvisions(width, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed here")
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed here")
    torch.manual_seed(1)
    module = getattr(models, f"shufflenet_v2_x{width.replace('.', '_')}")(weights=None).eval()
    for name, buffer in module.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
        elif name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
    torch.save(module.state_dict(), tmp_path / "weights.pth")
    images = torch.randn(3, 3, 224, 224)
    with torch.no_grad():
        expected = module(images).numpy()
    model = shufflenet.load(tmp_path / "weights.pth", width=width, wiring="torchvision")
    scale = np.abs(expected).max()
    # A tensor is read where it lies.
    for found in (model(images), model(images.numpy())):
        np.testing.assert_allclose(found, expected, atol=2e-5 * scale)


def test_threads_and_batches_do_not_change_a_bit(checkpoint, model, batch):
    expected = model(batch)
    for threads in (2, 3, 8):
        assert np.array_equal(shufflenet.load(checkpoint, threads=threads)(batch), expected)
    for index, image in enumerate(batch):
        assert np.array_equal(model(image), expected[index : index + 1])
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: model(batch), range(32)):
            assert np.array_equal(found, expected)


def test_python_runs_while_it_computes(model):
    images = np.zeros((16, 3, 512, 512), np.float32)
    worker = threading.Thread(target=lambda: [model(images) for _ in range(10)])
    worker.start()
    turns = 0
    while worker.is_alive():
        time.sleep(0.001)
        turns += 1
    assert turns > 10


def test_arrays_of_other_kinds(model, batch):
    expected = model(batch)
    read_only = batch.copy()
    read_only.flags.writeable = False
    for same in (
        read_only,
        np.asfortranarray(batch),
        np.ascontiguousarray(batch[:, :, ::-1])[:, :, ::-1],
        batch.astype(np.float64),
        batch.astype(">f4"),
        batch.tolist(),
    ):
        assert np.array_equal(model(same), expected)
    askew = np.frombuffer(b"\0" + batch.tobytes(), np.uint8)[1:].view(np.float32).reshape(batch.shape)
    assert np.array_equal(model(askew), expected)
    last = np.ascontiguousarray(batch.transpose(0, 2, 3, 1))
    assert np.array_equal(model(last, layout="nhwc"), expected)
    assert np.array_equal(model(batch[:, :1]), model(np.repeat(batch[:, :1], 3, 1)))
    half = batch.astype(np.float16)
    assert np.array_equal(model(half), model(half.astype(np.float32)))
    assert model(batch[:0]).shape == (0, CLASSES)

    class Tensor:
        """Of another library."""

        def __dlpack__(self, **options):
            return batch.__dlpack__(**options)

        def __dlpack_device__(self):
            return batch.__dlpack_device__()

    assert np.array_equal(model(Tensor()), expected)


def test_arrays_in_order_are_not_copied(batch):
    from shufflenet._arrays import floats

    assert np.shares_memory(floats("x", batch, (4,)), batch)
    torch = pytest.importorskip("torch", reason="PyTorch is not installed here")
    tensor = torch.from_numpy(batch)
    assert np.shares_memory(floats("x", tensor, (4,)), batch)


def test_an_image_with_nan_has_nan_logits_and_no_other(model, batch):
    expected = model(batch)
    broken = batch.copy()
    broken[2, 1, 5, 6] = np.nan
    found = model(broken)
    assert np.isnan(found[2]).all()
    assert np.array_equal(np.delete(found, 2, 0), np.delete(expected, 2, 0))


def test_bytes_are_photos(model, tmp_path):
    small = np.stack([photo(seed, 224, 224) for seed in range(3)])
    normalised = ((small / np.float32(255) - MEAN) / DEVIATION).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(model(small), model(normalised), rtol=1e-5, atol=1e-5)
    assert np.array_equal(model(small, resize=False), model(small))
    files = []
    for index, pixels in enumerate(small):
        files.append(tmp_path / f"{index}.png")
        files[-1].write_bytes(png(pixels))
    # A file is always resized and cropped, whatever its size.
    assert np.array_equal(model(files), model(small, resize=True))
    assert not np.array_equal(model(files), model(small))
    other = photo(5, 50, 70)
    assert np.array_equal(model(other), model(png(other)))
    np.testing.assert_allclose(
        model(other, resize=False),
        model(((other / np.float32(255) - MEAN) / DEVIATION).transpose(2, 0, 1)),
        rtol=1e-5,
        atol=1e-5,
    )


def test_photos_in_files(model, checkpoint, tmp_path):
    files = []
    for seed in range(7):
        files.append(tmp_path / f"{seed}.png")
        files[-1].write_bytes(png(photo(seed)))
    expected = model(files)
    assert np.array_equal(model([str(file) for file in files]), expected)
    assert np.array_equal(model([file.read_bytes() for file in files]), expected)
    assert np.array_equal(model(files[3]), expected[3:4])
    assert np.array_equal(shufflenet.load(checkpoint, threads=3)(files), expected)
    assert model([]).shape == (0, CLASSES)

    probabilities, classes = model.topk(files, 3)
    assert probabilities.shape == classes.shape == (7, 3)
    assert (np.diff(probabilities) <= 0).all()
    assert np.array_equal(classes[:, 0], expected.argmax(1))

    (tmp_path / "text.jpg").write_text("no photo")
    answers = list(
        model.classify([files[0], tmp_path / "text.jpg", tmp_path / "none.jpg", files[1].read_bytes()])
    )
    assert [sorted(answer) for answer in answers] == [
        ["image", "top"],
        ["error", "image"],
        ["error", "image"],
        ["image", "top"],
    ]
    assert answers[0]["image"] == str(files[0]) and len(answers[0]["top"]) == 5
    best = answers[0]["top"][0]
    assert best == {"rank": 1, "class": classes[0, 0], "label": None, "probability": probabilities[0, 0]}
    assert answers[1]["error"].startswith(
        f"{tmp_path / 'text.jpg'}: a text file, neither JPEG nor PNG nor WebP"
    )
    assert "No such file" in answers[2]["error"]
    assert answers[3]["image"] == "photo 3"
    with pytest.raises(shufflenet.Error, match="neither JPEG nor PNG nor WebP"):
        model([files[0], tmp_path / "text.jpg"])
    with pytest.raises(FileNotFoundError, match=r"none\.jpg: No such file"):
        model(tmp_path / "none.jpg")
    with pytest.raises(shufflenet.Error, match="photo 0: the file is empty"):
        model(b"")


def test_classify_asks_for_photos_as_it_goes(model, tmp_path):
    (tmp_path / "a.png").write_bytes(png(photo(1, 8, 8)))
    asked = 0

    def photos():
        nonlocal asked
        while True:
            asked += 1
            yield tmp_path / "a.png"

    answers = model.classify(photos())
    first = next(answers)
    assert first == next(answers) and asked < 1000


def test_labels(checkpoint, tmp_path):
    names = ["oak", "ash", "elm", "fir", "yew", "box"]
    file = tmp_path / "names.txt"
    file.write_text("\n".join(names))
    for labels in (names, file, str(file)):
        model = shufflenet.load(checkpoint, labels=labels)
        assert model.labels == names
        answer = next(model.classify(png(photo(1))))
        assert answer["top"][0]["label"] == names[answer["top"][0]["class"]]
    with pytest.raises(ValueError, match="expected 6 names, found 2"):
        shufflenet.load(checkpoint, labels=["oak", "ash"])
    file.write_text("oak\nash")
    with pytest.raises(shufflenet.Error, match=r"names\.txt: expected 6 names.* found 2"):
        shufflenet.load(checkpoint, labels=file)
    with pytest.raises(FileNotFoundError, match=r"none\.txt"):
        shufflenet.load(checkpoint, labels=tmp_path / "none.txt")
    imagenet = shufflenet.load(save(tmp_path / "w.safetensors", tensors(classes=1000)))
    assert imagenet.labels[207] == "golden retriever"


def test_it_is_pickled_by_path_and_options(checkpoint, batch, monkeypatch, tmp_path):
    monkeypatch.chdir(checkpoint.parent)
    model = shufflenet.load(checkpoint.name, threads=2, isa="portable", labels=list("abcdef"))
    monkeypatch.chdir(tmp_path)
    text = pickle.dumps(model)
    assert len(text) < 1000
    again = pickle.loads(text)
    assert (again.threads, again.isa, again.labels) == (2, model.isa, list("abcdef"))
    assert np.array_equal(again(batch), model(batch))


def _call(model, images, results):
    results.put(model(images))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes(checkpoint, batch, method):
    model = shufflenet.load(checkpoint, threads=2)
    # Its threads are running when the process is forked, and are not there afterwards.
    expected = model(batch)
    context = multiprocessing.get_context(method)
    results = context.Queue()
    process = context.Process(target=_call, args=(model, batch, results))
    process.start()
    assert np.array_equal(results.get(timeout=60), expected)
    process.join(60)
    assert process.exitcode == 0
    assert np.array_equal(model(batch), expected)


def test_summary_and_profile(model, weights):
    summary = model.summary(64)
    assert summary["config"] == {
        "wiring": "torchvision",
        "width": None,
        "stage_repeats": STAGES["repeats"],
        "stage_channels": STAGES["channels"],
        "bottleneck_ratio": 1.0,
        "classes": CLASSES,
    }
    trained = sum(values.size for name, values in weights.items() if "running" not in name)
    assert summary["params"] == trained
    for what in ("macs", "mac_bytes"):
        assert summary[what] == sum(layer[what] for layer in summary["layers"]) > 0
    assert summary["layers"][0]["input"] == (3, 64, 64)
    assert model.summary((64, 32))["size"] == (64, 32)

    profile = model.profile(64, seconds=0.05)
    assert [layer["name"] for layer in profile] == [layer["name"] for layer in summary["layers"]]
    assert all(layer["ms"] > 0 for layer in profile)
    assert sum(layer["percent_of_time"] for layer in profile) == pytest.approx(100)


@pytest.mark.parametrize(
    ("images", "why"),
    [
        (np.zeros((2, 4, 32, 32), np.float32), r"expected shape \(n, 3, h, w\), found \(2, 4, 32, 32\)"),
        (np.zeros((2, 32, 32, 3), np.float32), "is it layout='nhwc'"),
        (np.zeros((32, 32), np.float32), r"found \(32, 32\)"),
        (np.zeros((1, 3, 31, 64), np.float32), "at least 32, found 31 and 64"),
        (np.zeros((1, 3, 0, 64), np.float32), "at least 32"),
        (np.zeros((1, 3, 32, 32), np.int64), "expected float32"),
        (np.zeros((1, 3, 32, 32), np.complex64), "expected float32"),
        (np.zeros((1, 3, 64, 64), np.uint8), "channels last"),
        (np.zeros((1, 0, 64, 3), np.uint8), "found 0x64x3"),
        (np.array(["a", "b"]), "expected float32"),
        ({"a": 1}, "expected an array of numbers, found dict"),
        (None, "expected an array of numbers, found NoneType"),
        (["a.jpg", 1.0], "expected float32"),
    ],
)
def test_wrong_images(model, images, why):
    with pytest.raises(ValueError, match=why):
        model(images)


def test_wrong_options(model, checkpoint, batch, tmp_path):
    def refused(error, why, **options):
        with pytest.raises(error, match=why):
            shufflenet.load(checkpoint, **options)

    refused(ValueError, "threads: expected a whole number from 1 to 1024, found 0", threads=0)
    refused(ValueError, "threads: .*found -1", threads=-1)
    refused(TypeError, "integer", threads="two")
    refused(ValueError, 'isa: instruction set "avx1024" is not available here', isa="avx1024")
    refused(ValueError, "expected width 1.0, found ShuffleNetV2 with channels", width=1)
    refused(ValueError, "expected wiring keras, found ShuffleNetV2", wiring="keras")
    refused(ValueError, "elsewhere", key="elsewhere")
    with pytest.raises(FileNotFoundError, match=r"none\.pth: No such file"):
        shufflenet.load(tmp_path / "none.pth")
    with pytest.raises(OSError, match="not a regular file"):
        shufflenet.load(tmp_path)
    (tmp_path / "text.pth").write_text("no weights at all")
    with pytest.raises(shufflenet.Error, match=r"text\.pth: .*not a checkpoint"):
        shufflenet.load(tmp_path / "text.pth")
    (tmp_path / "cut.safetensors").write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(shufflenet.Error, match=r"cut\.safetensors: bad safetensors file"):
        shufflenet.load(tmp_path / "cut.safetensors")
    for options, why in (({"layout": "nwhc"}, "layout"), ({"resize": True}, "only uint8")):
        with pytest.raises(ValueError, match=why):
            model(batch, **options)
    for size in (31, 5000, (64, -1)):
        with pytest.raises(ValueError, match="from 32 to 4096"):
            model.summary(size)
    for seconds in (-1.0, float("nan"), 1e9):
        with pytest.raises(ValueError, match="seconds"):
            model.profile(64, seconds=seconds)
    for call in (lambda: model.topk(batch, 0), lambda: model.classify([], top=0)):
        with pytest.raises(ValueError, match="at least 1"):
            call()


def test_what_is_to_know_of_a_file_is_a_warning(tmp_path, weights, batch):
    broken = dict(weights)
    broken["fc.bias"] = broken["fc.bias"].copy()
    broken["fc.bias"][3] = np.nan
    path = save(tmp_path / "nan.safetensors", broken)
    with pytest.warns(shufflenet.CheckpointWarning, match=r"nan\.safetensors: NaN or infinity in .*fc\.bias"):
        model = shufflenet.load(path)
    found = model(batch)
    assert np.isnan(found[:, 3]).all() and np.isfinite(np.delete(found, 3, 1)).all()


def test_nothing_is_left_of_ten_thousand_calls(model, checkpoint):
    images = np.zeros((1, 3, 32, 32), np.float32)
    wrong = np.zeros((1, 3, 31, 32), np.float32)

    def call(times: int) -> None:
        for _ in range(times):
            model(images)
            with pytest.raises(ValueError):
                model(wrong)

    call(500)
    before = _resident()
    call(10_000)
    # An array of logits is 24 bytes and 100 around them: 10 000 would be over a megabyte.
    assert _resident() - before < 512 << 10

    for _ in range(20):
        shufflenet.load(checkpoint)
    before = _resident()
    for _ in range(200):
        shufflenet.load(checkpoint)
    assert _resident() - before < 200 * checkpoint.stat().st_size / 10


def _resident() -> int:
    """Bytes of memory that are in use."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
