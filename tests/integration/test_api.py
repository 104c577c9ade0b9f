"""`import handgen`: what it gives, what it costs, what it says to wrong arguments."""

import importlib.util
import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.commands import invoke

import handgen
from handgen._api.annotations import AnnotatedHands
from handgen.arguments import convert
from handgen.stages.annotate.config import AnnotateConfig
from handgen.storage.documents import read_json

ROOT = Path(__file__).parents[2]
PROMISED = {
    *("annotate", "synthesize", "simulate", "evaluate", "validate", "export", "import_dataset", "load_capture"),
    *("open_annotations", "load_shards", "Camera", "Rig", "HandModel", "Tracker", "HandgenError", "__version__"),
}
ONLY_IN_PYTHON = ("crf", "jpeg_quality", "rotation_deg", "hand_share", "shift_share", "without")  # of no use in a shell
CAPTURE = {"views": 2, "frames": 4, "size": (320, 240), "background": "green", "fps": 8, "workers": 1}


def run_python(code, *arguments):
    result = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api") / "capture"
    handgen.simulate(folder, **CAPTURE)
    return folder


@pytest.fixture(scope="module")
def hands(capture):
    return handgen.open_annotations(str(capture / "truth"))


def test_every_promised_name_is_there_and_listed():
    assert PROMISED <= set(handgen.__all__) <= set(dir(handgen))
    for name in handgen.__all__:
        assert getattr(handgen, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'anotate'"):
        _ = handgen.anotate


def test_importing_loads_nothing_and_takes_milliseconds():
    code = (
        "import sys, time; began = time.perf_counter(); import handgen; seconds = time.perf_counter() - began;"
        "print(seconds, *sorted({'torch', 'numpy', 'cv2', 'scipy', 'click', 'fsspec'} & set(sys.modules)))"
    )
    found = [run_python(code).split() for _ in range(5)]
    assert min(float(seconds) for seconds, *_ in found) < 0.05
    assert all(not loaded for _, *loaded in found)


def test_functions_are_found_without_a_numerical_library():
    code = (
        "import sys; from handgen import annotate, export, simulate;"
        "print(sorted({'torch', 'numpy', 'cv2', 'scipy'} & set(sys.modules)))"
    )
    assert run_python(code).strip() == "[]"  # so that their first call can choose how these compute


def test_type_checkers_see_every_name_and_the_marker_is_shipped():
    source = (ROOT / "handgen" / "__init__.py").read_text()
    checked = source[source.index("if TYPE_CHECKING:") : source.index("__all__ = ")]
    for name in handgen.__all__:
        assert name in checked
    assert (ROOT / "handgen" / "py.typed").is_file()
    assert "py.typed" in (ROOT / "pyproject.toml").read_text()


def test_the_page_and_the_types_are_up_to_date():
    spec = importlib.util.spec_from_file_location("render_api", ROOT / "scripts" / "render_api.py")
    render_api = importlib.util.module_from_spec(spec)
    sys.modules["render_api"] = render_api
    spec.loader.exec_module(render_api)
    for path, text in render_api.render_files().items():
        assert path.read_text("utf-8") == text, f"{path}: run `python scripts/render_api.py`"


@pytest.mark.parametrize("name", ["simulate", "annotate", "synthesize", "evaluate", "export", "import_dataset"])
def test_signatures_and_help_show_the_options(name):
    function = getattr(handgen, name)
    parameters = inspect.signature(function).parameters
    assert not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    assert parameters["workers"].default is None and parameters["overwrite"].default is False
    assert "    workers: Processes. None: one per core" in function.__doc__


def test_options_have_the_commands_names_and_defaults():
    parameters = inspect.signature(handgen.annotate).parameters
    config = AnnotateConfig()
    assert parameters["max_error"].default == config.max_error_share
    assert parameters["keypoints"].default is None  # of one detector among them
    assert inspect.signature(handgen.simulate).parameters["format"].default == "video"
    assert inspect.signature(handgen.export).parameters["format"].default is inspect.Parameter.empty


@pytest.mark.parametrize("command", ["simulate", "annotate", "synthesize", "evaluate", "export", "import", "validate"])
def test_every_keyword_is_an_option_of_the_command(command):
    function = getattr(handgen, {"import": "import_dataset"}.get(command, command))
    text = invoke(command, "--help").output
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and name not in ("progress", *ONLY_IN_PYTHON):
            assert f"--{name.replace('_', '-')}" in text, name


def test_wrong_arguments_are_said_in_one_line(tmp_path):
    cases = [
        (lambda: handgen.annotate(5), "annotate: capture takes a string, a path or a URL, got 5 (int)"),
        (lambda: handgen.annotate("x", workers="2"), "annotate: workers takes an integer or None, got '2' (str)"),
        (lambda: handgen.annotate("x", workers=True), "annotate: workers takes an integer or None, got True (bool)"),
        (lambda: handgen.annotate("x", wokers=2), "annotate: there is no option 'wokers'; did you mean 'workers'?"),
        (lambda: handgen.annotate("x", progress="yes"), "annotate: progress takes True or False or a function, got"),
        (lambda: handgen.simulate(["a"]), "simulate: out takes a string, a path or a URL, got ['a'] (list)"),
        (lambda: handgen.simulate(tmp_path, size="640x480"), "simulate: size takes 2 values (an integer, an integer)"),
        (
            lambda: handgen.simulate(tmp_path, format="avi"),
            "simulate: format takes 'video' or 'images', got 'avi'",
        ),
        (lambda: handgen.simulate(tmp_path, fps="fast"), "simulate: fps takes a number, got 'fast' (str)"),
        (lambda: handgen.synthesize([1, 2]), "synthesize: annotations takes a string, a path, a URL or a list of such"),
        (
            lambda: handgen.evaluate("a", truth=[]),
            "evaluate: truth takes a string, a path, a URL or None, got [] (list)",
        ),
        (lambda: handgen.validate("a", digests="no"), "validate: digests takes True or False, got 'no' (str)"),
        (lambda: handgen.export("a", "b"), "export: missing a required argument: 'format'"),
        (lambda: handgen.import_dataset("a", "b", format=3), "import_dataset: format takes a string, got 3 (int)"),
        (
            lambda: handgen.open_annotations(None),
            "open_annotations: directory takes a string, a path or a URL, got None",
        ),
        (lambda: handgen.load_capture(5), "load_capture: path takes a string, a path or a URL, got 5 (int)"),
        (lambda: handgen.load_capture("a", metres_per_unit="3"), "load_capture: metres_per_unit takes a number,"),
        (lambda: handgen.HandModel.load(5, "left"), "HandModel.load: model takes a string, got 5 (int)"),
        (lambda: handgen.Camera("a", (9, 9), [[1]]), "Camera: intrinsics takes an array, got [[1]] (list)"),
        (
            lambda: handgen.Camera("a", (9, 9), np.eye(3), cam_from_world=np.eye(4)),
            "Camera: cam_from_world takes Rigid,",
        ),
        (lambda: handgen.load_shards(5), "load_shards: urls takes a string, a path, a URL or a list of such, got 5"),
        (lambda: handgen.load_shards("a", batch_size="4"), "load_shards: batch_size takes an integer or None, got '4'"),
    ]
    for call, expected in cases:
        with pytest.raises(TypeError) as error:
            call()
        assert str(error.value).startswith(expected)
        assert "\n" not in str(error.value)


def test_values_that_are_not_allowed_are_said_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="refine must be"):
        handgen.annotate(tmp_path, refine="everything")
    with pytest.raises(ValueError, match="--keypoints is for --detector keypoints, not mediapipe"):
        handgen.annotate(tmp_path, keypoints=tmp_path)
    with pytest.raises(ValueError, match="neither green nor room"):
        handgen.simulate(tmp_path, background="blue")
    with pytest.raises(ValueError, match="simulate: out takes a path of this machine, got the URL memory://x"):
        handgen.simulate("memory://x")
    with pytest.raises(ValueError, match="nothing to compare with"):
        handgen.evaluate(tmp_path)
    with pytest.raises(ValueError, match="capture is for leave_one_view_out"):
        handgen.evaluate(tmp_path, tmp_path, capture=tmp_path)
    with pytest.raises(handgen.HandgenError, match="no such folder"):
        handgen.annotate(tmp_path / "nothing")
    with pytest.raises(handgen.HandgenError, match="no finished annotations"):
        handgen.open_annotations(tmp_path)


def test_numbers_of_numpy_lists_and_paths_are_taken():
    assert convert("x", np.int64(3), int | None) == 3
    assert type(convert("x", np.float32(0.5), float)) is float
    assert type(convert("x", 1, float)) is float
    assert convert("x", np.bool_(True), bool) is True
    assert convert("x", [1, 2], tuple[int, int]) == (1, 2)
    assert convert("x", Path("a"), str | None) == "a"
    assert convert("x", Path("a"), str | Path) == Path("a")
    assert convert("x", "auto", float | str | None) == "auto"


def test_bytes_are_those_of_the_command(tmp_path):
    sizes = {name: value for name, value in CAPTURE.items() if name != "size"}
    run_python(
        "import sys, handgen; handgen.simulate(sys.argv[1], size=(320, 240), **eval(sys.argv[2]))",
        tmp_path / "python" / "capture",
        sizes,
    )
    options = [part for name, value in sizes.items() for part in (f"--{name}", str(value))]
    command = [
        sys.executable,
        "-m",
        "handgen.cli.main",
        "simulate",
        str(tmp_path / "command" / "capture"),
        "--size",
        "320x240",
    ]
    subprocess.run([*command, *options], check=True, capture_output=True)
    written = {path.relative_to(tmp_path / "command") for path in (tmp_path / "command").rglob("*") if path.is_file()}
    assert len(written) > 8
    for path in written:
        assert (tmp_path / "python" / path).read_bytes() == (tmp_path / "command" / path).read_bytes(), path


def test_progress_is_quiet_a_function_or_bars(tmp_path, capfd):
    seen = []
    handgen.simulate(tmp_path / "a", **CAPTURE, progress=lambda *step: seen.append(step))
    assert seen[0] == ("render", 0, 4) and seen[-1] == ("render", 4, 4)
    handgen.simulate(tmp_path / "b", **CAPTURE)
    assert capfd.readouterr() == ("", "")
    handgen.simulate(tmp_path / "c", **CAPTURE, progress=True)
    assert "render" in capfd.readouterr().err


def test_a_capture_is_loaded_by_its_name(capture):
    loaded = handgen.load_capture(str(capture))
    assert (loaded.frame_count, loaded.rig.names) == (4, ("cam_0", "cam_1"))
    assert isinstance(loaded.rig, handgen.Rig) and isinstance(next(iter(loaded.rig)), handgen.Camera)


def test_hands_are_read_in_order_by_number_and_from_the_end(capture, hands):
    assert isinstance(hands, AnnotatedHands) and len(hands) == 4
    assert [hand.frame for hand in hands] == [0, 1, 2, 3] == [hands[i].frame for i in range(len(hands))]
    assert hands[-1].frame == 3 and [hand.frame for hand in hands[1:3]] == [1, 2]
    for wrong, error in ((4, IndexError), (-5, IndexError), ("1", TypeError)):
        with pytest.raises(error, match="no number|takes an integer"):
            _ = hands[wrong]
    assert (hands.frame_count, hands.fps, len(hands.rig), hands.path) == (4, 8.0, 2, capture / "truth")
    assert repr(hands) == f"<4 annotated hands in 4 frames of 2 cameras: {capture / 'truth'}>"


def test_a_hand_agrees_with_its_files(capture, hands):
    line = json.loads((capture / "truth" / "chunks" / "000000.jsonl").read_text().splitlines()[2])
    hand = hands[2]
    assert (hand.frame, hand.side, hand.accepted, hand.reasons) == (2, "right", True, ())
    assert hand.subject in read_json(capture / "truth" / "manifest.json")["subjects"]
    assert hand.keypoints_3d.tolist() == line["keypoints_world_m"]
    assert hand.pose.shape == (48,) and hand.betas.shape == (10,) and hand.translation_m.shape == (3,)
    vertices, faces = hand.mesh()
    assert vertices.shape == (778, 3) and faces.max() == 777
    assert np.abs(vertices.mean(0) - hand.keypoints_3d.mean(0)).max() < 0.05  # metres: they are in one place
    assert repr(hand) == "<right hand of frame 2, 2 views, accepted>"


def test_a_view_has_a_picture_a_mask_and_the_camera_of_both(hands):
    hand = hands[0]
    for view in hand.views:
        width, height = view.camera.size_px
        assert view.image.shape == (height, width, 3) and view.mask.shape == (height, width)
        assert view.box_px[2:] == (width, height)
        assert hand.camera(view.camera.name) is view.camera
        pixels = np.rint(view.keypoints_2d).astype(int)
        inside = (pixels >= 0).all(1) & (pixels < (width, height)).all(1)
        assert inside.sum() >= 18
        assert (view.mask[pixels[inside, 1], pixels[inside, 0]] == 255).mean() > 0.8
        assert repr(view) == f"<right hand of frame 0 in {view.camera.name}, {width} x {height} px>"
    with pytest.raises(KeyError, match="camera 'cam_9' has no right hand"):
        hand.camera("cam_9")


def test_a_tracker_follows_the_hand_of_annotations(hands):
    tracker = hands.tracker("right")
    assert isinstance(tracker, handgen.Tracker)
    for hand in hands:
        pixels = np.stack([camera.project(hand.keypoints_3d)[0] for camera in hands.rig])
        found = tracker.update(pixels, np.ones((2, 21)))
        assert np.abs(found.keypoints - hand.keypoints_3d).max() < 0.008  # two views of one frame, and a prior
    with pytest.raises(KeyError, match="say which, got 'nobody'"):
        hands.tracker("right", "nobody")


def test_hands_become_a_table(hands, monkeypatch):
    table = hands.to_dataframe()
    assert table["frame"].tolist() == [0, 1, 2, 3] and set(table["side"]) == {"right"}
    assert table["views"].tolist() == [2, 2, 2, 2]
    wide = hands.to_dataframe(keypoints=True)
    assert wide[["wrist_x_m", "wrist_y_m", "wrist_z_m"]].to_numpy()[1].tolist() == hands[1].keypoints_3d[0].tolist()
    assert wide.shape == (4, table.shape[1] + 63)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(handgen.HandgenError, match=r"pip install 'handgen\[pandas\]'"):
        hands.to_dataframe()


@pytest.mark.parametrize("name", ["cli", "schemas"])
def test_two_checkouts_do_not_mix(tmp_path, name):
    other = tmp_path / "other"
    shutil.copytree(ROOT / "handgen", other / "handgen", ignore=shutil.ignore_patterns("__pycache__", "data", "stages"))
    code = """
import importlib.util, sys
places = dict(zip(sys.argv[1::2], sys.argv[2::2]))
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in places:
            folder = places[name]
            return importlib.util.spec_from_file_location(
                name, folder + "/__init__.py", submodule_search_locations=[folder])
sys.meta_path.insert(0, Finder)
import handgen
try:
    __import__(list(places)[1])
except ImportError as error:
    print(error)
"""
    said = run_python(code, "handgen", other / "handgen", f"handgen.{name}", ROOT / name)
    assert f"handgen.{name} is in {os.path.realpath(ROOT / name)}, but handgen in {os.path.realpath(other)}" in said
    assert said.count("\n") == 1
    assert run_python(code, "handgen", ROOT / "handgen", f"handgen.{name}", ROOT / name) == ""
    shutil.copytree(ROOT / name, other / "handgen" / name)  # as a wheel has it
    assert run_python(code, "handgen", other / "handgen", f"handgen.{name}", other / "handgen" / name) == ""
