"""The commands as they are typed: what they print, in which form, and how they refuse."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics.pairwise import cosine_similarity

from job import __version__
from lookup.__main__ import main
from lookup.calibration import calibrate
from lookup.classifier import Classifier
from lookup.embed import Embedder
from lookup.evaluate import as_text, evaluate
from tests.lookup.conftest import index_of

ROOT = Path(__file__).resolve().parents[2]


def run(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> tuple[str, str]:
    assert main([str(argument) for argument in arguments]) == status
    printed = capsys.readouterr()
    return printed.out, printed.err


def remove_calibration(output: Path) -> None:
    for file in output.glob("neighbours/*/judge.npz"):
        file.unlink()


def test_classify_names_the_sixth_fruit_after_five(
    output: Path, fruit: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = run(capsys, "classify", fruit[1], "--output", output, "--json")
    answers = json.loads(out)
    assert len(answers) == 60
    right = [answer["label"] == Path(answer["path"]).parent.name for answer in answers]
    assert np.mean(right) >= 0.95
    assert all(set(answer) == {"path", "label", "confidence", "neighbours"} for answer in answers)
    assert all(0 <= answer["confidence"] <= 1 for answer in answers)
    neighbors = [neighbor for answer in answers for neighbor in answer["neighbours"]]
    assert all(set(neighbor) == {"path", "label", "similarity"} for neighbor in neighbors)
    assert all(len(answer["neighbours"]) == 5 for answer in answers)


def test_the_calibration_is_saved(output: Path, fruit: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    banana = fruit[1] / "Banana" / "25.jpg"
    remove_calibration(output)
    assert "learning" in run(capsys, "classify", banana, "--output", output)[1]
    assert "learning" not in run(capsys, "classify", banana, "--output", output)[1]
    [file] = output.glob("neighbours/*/judge.npz")
    file.write_bytes(b"rubbish")
    assert "learning" in run(capsys, "classify", banana, "--output", output)[1]


def test_an_image_like_nothing_is_unknown(output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    [answer] = json.loads(run(capsys, "classify", tmp_path / "noise.png", "--output", output, "--json")[0])
    assert answer["label"] is None
    assert answer["confidence"] == 0
    assert "noise.png: unknown" in run(capsys, "classify", tmp_path / "noise.png", "--output", output)[0]


def test_search_finds_the_image_itself_first(
    output: Path, fruit: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    kiwi = fruit[0] / "Kiwi" / "07.jpg"
    [answer] = json.loads(run(capsys, "search", kiwi, "--output", output, "-k", "3", "--json")[0])
    assert set(answer) == {"path", "neighbours"}
    assert answer["neighbours"][0] == {"path": str(kiwi), "label": "Kiwi", "similarity": pytest.approx(1, abs=1e-4)}
    assert len(answer["neighbours"]) == 3
    similarities = [neighbor["similarity"] for neighbor in answer["neighbours"]]
    assert similarities == sorted(similarities, reverse=True)
    # The similarity is the cosine of the rows of pca_results: colors have no part in it.
    known = pd.read_parquet(output / "pca_results").set_index("path")["pca_features"]
    cosines = cosine_similarity([known[str(kiwi)]], np.stack(known.tolist()))[0]
    assert similarities == pytest.approx(np.sort(cosines)[::-1][:3].tolist(), abs=1e-4)


def test_the_table(output: Path, fruit: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    kiwi = fruit[0] / "Kiwi" / "07.jpg"
    lines = run(capsys, "classify", kiwi, "--output", output, "-k", "2")[0].splitlines()
    classifier = Classifier(str(output))
    with Embedder(classifier.pipeline) as embedder:
        [prediction] = classifier.classify([embedder.embed(kiwi.read_bytes())], 2)
    assert 0.5 < prediction.confidence < 1
    assert lines[0] == f"{kiwi}: Kiwi, confidence {prediction.confidence:.3f}"
    assert lines[1] == "  similarity  label  path"
    assert lines[2] == f"       1.000  Kiwi   {kiwi}"
    second = prediction.neighbors[1]
    assert lines[3] == f"  {second.similarity:10.3f}  {second.label:<5}  {second.path}"
    assert len(lines) == 4


def test_one_image_of_many_cannot_be_used(
    output: Path, fruit: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(fruit[1] / "Lemon" / "25.jpg", tmp_path / "=1+1.jpg")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "bad.jpg").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("not looked at")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "not-looked-at.jpg").write_bytes(b"as by the job")
    (tmp_path / "below" / "round").symlink_to(tmp_path)
    out, _ = run(capsys, "classify", tmp_path, "--output", output, "--csv", status=1)
    good, bad = sorted(csv.DictReader(io.StringIO(out), delimiter=";"), key=lambda row: row["error"])
    assert good["label"] == "Lemon"
    assert good["path"] == f"{tmp_path}/=1+1.jpg"  # it is no formula: the path begins with a slash
    assert bad["error"].startswith("not an image")
    assert bad["label"] == bad["nearest"] == ""
    [first, _] = json.loads(run(capsys, "classify", tmp_path, "--output", output, "--json", status=1)[0])
    assert {first["label"], first.get("error") is None} in ({"Lemon", True}, {None, False})


def test_a_page_with_hostile_names(
    output: Path, fruit: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = tmp_path / "<img src=x onerror=alert(1)>\x1b[31m.jpg"
    shutil.copy(fruit[1] / "Lemon" / "25.jpg", name)
    page, _ = run(capsys, "search", name, "--output", output, "--html")
    assert "<img src=x" not in page
    assert page.count('src="data:image/jpeg;base64,') == 6
    table, _ = run(capsys, "search", name, "--output", output)
    assert "\x1b" not in table
    assert r"\x1b[31m" in table


REFUSED = {
    "no such image": (["classify", "/nowhere.jpg"], "cannot read /nowhere.jpg: No such file"),
    "an empty folder": (["classify", "{empty}"], "no images in"),
    "no results": (["search", "{image}", "--output", "/nowhere"], "no results in /nowhere"),
    "nothing to evaluate": (["evaluate", "--output", "/nowhere"], "no results in /nowhere"),
    "nothing to serve": (["serve", "--output", "/nowhere", "--port", "0"], "no results in /nowhere"),
    "run.json is a folder": (["search", "{image}", "--output", "{folder}"], "cannot read or write"),
    "no such host": (["serve", "--output", "{output}", "--host", "..", "--port", "0"], "cannot listen on .."),
    "no bucket": (["search", "s3://", "--output", "{output}"], "names no bucket"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unusable_input_is_refused_in_one_line(
    case: str, output: Path, fruit: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, words = REFUSED[case]
    (tmp_path / "folder" / "run.json").mkdir(parents=True)
    values = {name: str(tmp_path / "folder") for name in ("empty", "folder")}
    values |= {"image": str(fruit[1] / "Lemon" / "25.jpg"), "output": str(output)}
    given = [argument.format(**values) for argument in arguments]
    given += [] if "--output" in given else ["--output", str(output)]
    out, err = run(capsys, *given, status=2)
    assert out == ""
    [line] = [line for line in err.splitlines() if not line.startswith("learning")]
    assert line.startswith("error: ")
    assert words in line


def test_an_unexpected_error_is_one_line_and_a_log(
    output: Path, fruit: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "Äpfel.jpg"
    shutil.copy(fruit[1] / "Lemon" / "25.jpg", photo)
    with redirect_stdout(io.TextIOWrapper(io.BytesIO(), "ascii")):  # a stream that cannot print the name
        assert main(["search", str(photo), "--output", str(output)]) == 1
    line = re.fullmatch(r"error: UnicodeEncodeError: .* \(details: (.*)\)\n", capsys.readouterr().err)
    assert line
    assert "Traceback" in Path(line[1]).read_text()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"fruits {__version__}\n"


@pytest.mark.parametrize("arguments", [["-k", "0"], ["-k", "x"], ["--json", "--csv"], []])
def test_wrong_options(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["search", *(["a.jpg", "--output", "x"] if arguments else []), *arguments])
    assert stop.value.code == 2
    assert "usage: python -m lookup search" in capsys.readouterr().err


def test_the_command_starts_without_spark_and_without_a_word_from_libraries(
    output: Path, fruit: tuple[Path, Path]
) -> None:
    program = (
        "import sys; from lookup.__main__ import main; status = main(sys.argv[1:]);"
        "print(sorted({'pyspark', 'tensorflow', 'sklearn', 'fastapi'} & set(sys.modules))); sys.exit(status)"
    )
    command = [sys.executable, "-W", "error", "-c", program, "classify", str(fruit[1] / "Lemon" / "25.jpg")]
    done = subprocess.run([*command, "--output", str(output)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert [line for line in done.stderr.splitlines() if not line.startswith("learning")] == []


def test_the_reader_of_the_output_may_stop(output: Path, fruit: tuple[Path, Path]) -> None:
    command = f"{sys.executable} -m lookup search {fruit[1]} --output {output} | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0


def test_evaluate(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = json.loads(run(capsys, "evaluate", "--output", output, "--json")[0])
    assert figures["pictures"] == figures["sampled"] == 300
    assert min(figures["naive"]["value"], figures["grouped"]["value"], figures["plain"]["value"]) >= 0.95
    assert figures["naive"]["low"] < figures["naive"]["value"] < figures["naive"]["high"] + 1e-9
    assert figures["calibration_error"] < 0.1
    assert len(figures["labels"]) == 12
    assert sum(label["pictures"] for label in figures["labels"]) == 300
    assert figures["kept"].endswith("judge.npz")
    text = run(capsys, "evaluate", "--output", output)[0]
    assert f"{figures['grouped']['value']:.3f} (" in text
    assert max(map(len, text.splitlines())) <= 120


def test_one_labeled_image_gives_no_distance_of_the_unknown() -> None:
    index = index_of([np.ones((1, 2), np.float32)], ["a"])
    assert calibrate(index).calibration.unknown_threshold == np.inf


def test_a_label_that_would_steer_the_terminal(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    index = index_of([vectors], ["\x1b[2Jevil\nrow", "b"] * 10)
    classifier = Classifier(str(output))
    classifier.index = index
    text = as_text(evaluate(classifier))
    assert "\x1b" not in text
    assert r"\x1b[2Jevil\nrow" in text
    remove_calibration(output)
